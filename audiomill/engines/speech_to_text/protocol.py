"""What an engine of speech to text does."""

from collections.abc import Sequence
from typing import Protocol

from audiomill.audio import Audio
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError
from audiomill.transcripts import Transcript


class SpeechToText(Engine, Protocol):
    """Transcribes. Wants mono audio at `sample_rate_hz`."""

    sample_rate_hz: int

    def transcribe(
        self, audios: Sequence[Audio], params: TranscribeParameters, progress: Progress | None = None
    ) -> list[Transcript | AudiomillError]:
        """One result per audio, in order: a Transcript, or the error of that item alone.

        Raises EngineFailed only when the engine itself broke and no result of the call can be trusted.
        """
        ...
