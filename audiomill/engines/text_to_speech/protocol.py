"""What an engine of text to speech does, and the speech that it gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from audiomill.audio import Audio
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError
from audiomill.transcripts import Word


@dataclass(frozen=True)
class Speech:
    """A text spoken: the sound, and when each word starts and ends where the engine says so."""

    audio: Audio
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class SpeakersVoice:
    """A voice that an engine chose for a speaker: its name, and its pitch as orders name it (50: as it is)."""

    name: str
    pitch: int = 50


class TextToSpeech(Engine, Protocol):
    """Speaks. longest_text: characters that it speaks well in one go; a longer text is handed over in sentences."""

    longest_text: int

    def voices_by_pitch(self, language: str, pitch_hz: Mapping[str, float | None]) -> Mapping[str, SpeakersVoice]:
        """A voice of the language for each speaker, by the median pitch of theirs; the same for the same speakers.

        Raises BadInput (`no_voice`).
        """
        ...

    def synthesize(
        self,
        texts: Sequence[str],
        params: SynthesizeParameters,
        progress: Progress | None = None,
        *,
        longest_seconds: float = math.inf,
    ) -> list[Speech | AudiomillError]:
        """One result per text, in order: Speech, or the error of that item alone. Raises EngineFailed as above.

        A text whose speech becomes longer than `longest_seconds` is given up there and then (`speech_too_long`).
        """
        ...
