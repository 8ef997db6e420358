"""What an engine of speech to text does: utterances in, transcripts of each out, as many and in that order.

How a recording is cut, and its transcripts joined, is recordings.py; an engine says how it wants both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from audiomill.audio import Audio
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.voice_activity import Span
from audiomill.errors import AudiomillError
from audiomill.transcripts import Transcript


@dataclass(frozen=True)
class Detected:
    """A language that was heard (BCP 47, lower case), and how sure that is, 0 to 1."""

    language: str
    probability: float


class SpeechToText(Engine, Protocol):
    """Transcribes. Wants mono audio at `sample_rate_hz`.

    knows_phrases: its segments are phrases. Of one that hears words only, they are made over the whole recording.
    """

    sample_rate_hz: int
    knows_phrases: bool

    def language_of(self, params: TranscribeParameters) -> str | None:
        """What a transcript of this order is in; None where that has to be heard. Raises BadInput."""
        ...

    def utterances(self, audio: Audio, params: TranscribeParameters) -> Iterator[Span]:
        """Where to cut a recording: pieces that it can take, found as they are asked for. None where nobody speaks."""
        ...

    def hears_language_first(self, params: TranscribeParameters) -> bool:
        """Whether the language of this order is to be heard by `detect` before anything is transcribed."""
        ...

    def detect(self, audios: Sequence[Audio]) -> list[Detected | AudiomillError]:
        """The language of each, from its first half minute. Only asked where it is heard first."""
        ...

    def transcribe(
        self, audios: Sequence[Audio], params: TranscribeParameters, progress: Progress | None = None
    ) -> list[Transcript | AudiomillError]:
        """One result per utterance, in order: a Transcript, its times from the utterance's start; or its own error.

        How utterances are packed into calls changes no text. Raises EngineFailed only when the engine itself broke and
        no result of the call can be trusted.
        """
        ...


class TakesRecordingsWhole:
    """For engines that cut nothing: a recording is one utterance, in whatever language the order says."""

    knows_phrases = True

    def language_of(self, params: TranscribeParameters) -> str | None:
        """As ordered."""
        return None if params.language == "auto" else params.language

    def utterances(self, audio: Audio, params: TranscribeParameters) -> Iterator[Span]:  # noqa: ARG002 - the protocol's
        """All of it."""
        yield Span(0, int(audio.samples.shape[1]))

    def hears_language_first(self, params: TranscribeParameters) -> bool:  # noqa: ARG002 - the protocol's
        """It says the language with its transcript."""
        return False

    def detect(self, audios: Sequence[Audio]) -> list[Detected | AudiomillError]:
        """Never asked."""
        raise NotImplementedError
