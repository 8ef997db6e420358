"""Outlines of the sounds that a batch worked on, for its picture. How they are drawn: audiomill/audio/picture.py."""

import threading

from audiomill.audio import MOST_ON_A_SHEET, Audio, Envelope, envelope


class Pictures:
    """Outlines of the first items that end. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken: list[tuple[str, Envelope]] = []
        """(job id, outline)."""

    def take(self, job_id: str, sound: Audio | None) -> None:
        """Outline a sound while it is at hand: kept whole, it would stay in memory or on the disk until the end."""
        if sound is None or len(self.taken) >= MOST_ON_A_SHEET:
            return
        outline = envelope(sound)
        with self._lock:
            if len(self.taken) < MOST_ON_A_SHEET:
                self.taken.append((job_id, outline))
