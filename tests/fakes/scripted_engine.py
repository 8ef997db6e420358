"""A recogniser that does as the order's `initial_prompt` says: for tests of what is around engines.

`say:WORDS` (default), `guess:WORDS` (the same, far from sure), `refuse` (the item's own error), `break` (the engine
breaks), `die` (its process crashes),
`wait:SECONDS` before it says something.
"""

import os
import signal
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
from audiomill.errors import AudiomillError, BadInput, EngineFailed
from audiomill.transcripts import Segment, Transcript, Word

NAME = "scripted"
SEED = 7
ENTRY = EngineEntry(
    NAME, "speech_to_text", "tests.fakes.scripted_engine:Scripted", ("cpu",), "MIT", "Does as the order says"
)
SETTING = "tests.fakes.scripted_engine:ENTRY"


class Scripted(TakesRecordingsWhole):
    """Mono audio at 16 kHz in, the words of the order out."""

    sample_rate_hz = 16_000

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:
        """Takes no cores: it computes nothing."""

    def availability(self) -> list[Availability]:
        return [Availability(None, "cpu", available=True, lacks=None, languages=None)]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Nothing to load."""

    @property
    def identity(self) -> EngineIdentity:
        return EngineIdentity(NAME, "1", None, None, SEED)

    @property
    def usage(self) -> Usage:
        return Usage(group_items=1, group_seconds=3600, parallel_calls=1)

    def close(self) -> None:
        """Nothing to free."""

    def transcribe(
        self, audios: Sequence[Audio], params: TranscribeParameters, progress: Progress | None = None
    ) -> list[Transcript | AudiomillError]:
        return [self._one(audio, params.initial_prompt or "say:hello there") for audio in audios]

    def _one(self, audio: Audio, script: str) -> Transcript | AudiomillError:
        order, _, argument = script.partition(":")
        if order == "refuse":
            return BadInput("There is nothing to hear.", code="no_speech")
        if order == "break":
            raise EngineFailed("It broke.")
        if order == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if order == "wait":
            time.sleep(float(argument))
            argument = "hello there"
        each = audio.seconds / max(1, len(argument.split()))
        sure = 0.2 if order == "guess" else 0.9
        words = tuple(Word(word, index * each, (index + 1) * each, sure) for index, word in enumerate(argument.split()))
        return Transcript((Segment(argument, 0.0, audio.seconds, words),), "en", None, audio.seconds)
