"""Pieces of one sound that come in any order, gathered in a file: whole at no time, one sound at the end."""

import threading
from pathlib import Path

import numpy as np

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks
from audiomill.audio.spool import mapped, writing


class Pieces:
    """Takes pieces of equal rate and channels by number. Safe to use from several threads.

    The file is the caller's, to remove too; the sound that comes of it is a read-only map of a file beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[int, tuple[int, int]] = {}
        self._samples = 0
        self._channels = 1
        self._sample_rate_hz = 0

    def put(self, number: int, audio: Audio) -> None:
        """Keep a piece. Raises StorageUnavailable when the disk is full, ValueError for another rate or channels."""
        form = (audio.sample_rate_hz, audio.channels)
        with self._lock:
            if self._places and form != (self._sample_rate_hz, self._channels):
                raise ValueError(f"a piece of {form} among pieces of {(self._sample_rate_hz, self._channels)}")
            self._sample_rate_hz, self._channels = form
            with writing(), self._path.open("ab") as file:
                for block in blocks(audio):
                    file.write(np.ascontiguousarray(block.T).data)
            self._places[number] = (self._samples, audio.samples.shape[1])
            self._samples += audio.samples.shape[1]

    @property
    def seconds(self) -> float:
        """Of all pieces until now."""
        with self._lock:
            return self._samples / self._sample_rate_hz if self._sample_rate_hz else 0.0

    def joined(self) -> Audio:
        """All pieces in the order of their numbers. Raises ValueError when there are none."""
        with self._lock:
            if not self._sample_rate_hz:
                raise ValueError("no pieces to join")
            ordered = [self._places[number] for number in sorted(self._places)]
            path = self._path
            if ordered != sorted(ordered):
                path = self._path.with_name(self._path.name + "-ordered")
                self._reordered(ordered, path)
            with path.open("rb") as file:
                if not self._samples:
                    return Audio(np.empty((self._channels, 0), np.float32), self._sample_rate_hz)
                return mapped(file, self._samples, self._channels, self._sample_rate_hz, short_too=True)

    def _reordered(self, ordered: list[tuple[int, int]], path: Path) -> None:
        with writing(), self._path.open("rb") as file, path.open("wb") as out:
            whole = mapped(file, self._samples, self._channels, self._sample_rate_hz, short_too=True)
            for start, count in ordered:
                for block in blocks(Audio(whole.samples[:, start : start + count], self._sample_rate_hz)):
                    out.write(np.ascontiguousarray(block.T).data)
