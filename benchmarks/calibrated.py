"""An engine whose cost is known: it burns 100 ms of CPU time an item and says words that suit the item. What a platform
needs beyond that is overhead, whatever the weather on the machine.

Registered by `AUDIOMILL_ENGINES__EXTRA='["benchmarks.calibrated:ENTRY"]'`. Not for orders.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from audiomill.audio import Audio
from audiomill.catalogue.engines import EngineEntry
from audiomill.catalogue.stages import ResourceClass
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.speech_to_text.protocol import TakesRecordingsWhole
from audiomill.errors import AudiomillError
from audiomill.transcripts import Segment, Transcript, Word

NAME = "calibrated"
SETTING = "benchmarks.calibrated:ENTRY"
ENTRY = EngineEntry(
    NAME,
    "speech_to_text",
    "benchmarks.calibrated:Calibrated",
    ("cpu",),
    "MIT",
    "Takes 100 ms of CPU time an item, for benchmarks",
)
CPU_SECONDS = 0.1
WORDS = 12
_PIECE = bytes(1 << 20)
"""Hashed as often as needed: some milliseconds each, and hashlib lets go of the GIL for it, as real engines do."""


class Calibrated(TakesRecordingsWhole):
    """Mono audio at 16 kHz in; twelve words, made of the sound's hash, out."""

    sample_rate_hz = 16_000

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:  # noqa: ARG002 - an engine's signature
        self._budget = budget

    def availability(self) -> list[Availability]:
        """Runs everywhere."""
        return [Availability(None, "cpu", available=True, lacks=None, languages=None)]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Nothing to load."""

    @property
    def identity(self) -> EngineIdentity:
        """No model."""
        return EngineIdentity(NAME, "1", None, None)

    @property
    def usage(self) -> Usage:
        """An item a call, a call per core."""
        return Usage(group_items=1, group_seconds=60, parallel_calls=self._budget.cores)

    def close(self) -> None:
        """Nothing to free."""

    def transcribe(
        self,
        audios: Sequence[Audio],
        params: TranscribeParameters,  # noqa: ARG002 - an engine's signature
        progress: Progress | None = None,  # noqa: ARG002 - an item is over before anybody looks
    ) -> list[Transcript | AudiomillError]:
        """Burn, then say something of the right length."""
        return [self._one(audio) for audio in audios]

    def _one(self, audio: Audio) -> Transcript:
        with self._budget.take(1):
            burn(CPU_SECONDS)
        digest = hashlib.sha256(audio.samples.tobytes()).hexdigest()
        each = audio.seconds / WORDS
        words = tuple(
            Word(digest[4 * index : 4 * index + 4], index * each, (index + 1) * each, 0.9) for index in range(WORDS)
        )
        return Transcript(
            (Segment(" ".join(word.text for word in words), 0.0, audio.seconds, words),), "en", None, audio.seconds
        )


def burn(cpu_seconds: float) -> None:
    """Use that much CPU time in this thread, however long it takes by the clock."""
    end = time.thread_time() + cpu_seconds
    while time.thread_time() < end:
        hashlib.sha256(_PIECE)
