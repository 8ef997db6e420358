"""faster-whisper as an engine: orders to its parameters, its segments to transcripts.

Utterances of many recordings share a call (whisper_batch.py). An order that says `sequential` is decoded as the library
does by itself: a recording from its beginning to its end, each window after the text before it, again at higher
temperatures where a result looks wrong.

Sampling is repeatable: CTranslate2 seeds a generator per worker thread when that thread first samples, and never again.
After a recording that needed sampling the model is therefore built anew (measured: seeding alone gave four different
texts of four, a new model the same each time); a recording decoded greedily costs nothing extra.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiomill.audio import Audio
from audiomill.catalogue.stages import ResourceClass
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.device import check_device
from audiomill.engines.model_store import ModelStore, missing
from audiomill.engines.of_one_model import OfOneModel
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.speech_to_text.protocol import Detected
from audiomill.engines.speech_to_text.whisper_batch import WINDOW_SECONDS, decoded, languages
from audiomill.engines.voice_activity import SAMPLE_RATE_HZ, Span, filled, pieces, recogniser_samples
from audiomill.errors import AudiomillError, BadInput, EngineFailed, EngineUnavailable
from audiomill.transcripts import Segment, Transcript, Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import Segment as WhisperSegment

NAME = "faster-whisper"
DEFAULT_MODELS: dict[ResourceClass, str] = {"gpu": "large-v3-turbo", "cpu": "small"}
SEED = 0
_GPU_BATCH, _CPU_BATCH = 32, 1
"""Utterances encoded and generated at once."""

_CPU_CALL = 4
"""Utterances in one call on a CPU, one after the other."""

PIECE_SECONDS = 900.0
"""Longer recordings that are decoded sequentially go in pieces: a spectrogram of ten hours takes tens of gigabytes."""

# BCP 47 tags that Whisper knows under another name; `jw` for Javanese is a name of its own making.
_WHISPER_NAMES = {"nb": "no", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh", "zh-yue": "yue", "jv": "jw"}
_TAGS = {"jw": "jv"}


class FasterWhisper(OfOneModel):
    """Whisper on CTranslate2, on the CPU (int8) or a GPU (float16)."""

    sample_rate_hz = SAMPLE_RATE_HZ
    knows_phrases = True

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:
        self._store = ModelStore(model_store)
        self._budget = budget
        self._model: WhisperModel | None = None
        self._resource_class: ResourceClass = "cpu"
        self._sampled = False

    def availability(self) -> list[Availability]:
        """A row for each installed model on what this machine has, and for each default that is not there."""
        if find_spec("faster_whisper") is None:
            return [
                Availability(model, resource_class, False, "the package faster-whisper", None)
                for resource_class, model in DEFAULT_MODELS.items()
            ]
        models = [model.model for model in self._store.installed() if model.engine == NAME]
        rows: list[Availability] = []
        for resource_class, default in DEFAULT_MODELS.items():
            lacks_device = None if resource_class == "cpu" or _has_gpu() else "a GPU that CUDA can use"
            if lacks_device is None:
                rows += [Availability(model, resource_class, True, None, _languages(model)) for model in models]
            if default not in models or lacks_device is not None:
                lacks = lacks_device or missing(NAME, default)
                rows.append(Availability(default, resource_class, False, lacks, _languages(default)))
        return rows

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Load a model from the store. Raises EngineUnavailable."""
        if resource_class not in DEFAULT_MODELS:
            raise EngineUnavailable(f"faster-whisper runs on a CPU or a GPU, not on {resource_class}.")
        if resource_class == "gpu" and not _has_gpu():
            raise EngineUnavailable("faster-whisper lacks a GPU that CUDA can use.", code="no_gpu")
        name = model or DEFAULT_MODELS[resource_class]
        installed = self._store.verified(NAME, name)
        self._resource_class = resource_class
        self._folder = self._store.path(NAME, name)
        self._build()
        self._identity = EngineIdentity(
            NAME, package_version("faster-whisper"), name, installed.sha256, SEED, _languages(name)
        )

    @property
    def usage(self) -> Usage:
        """A call uses the whole GPU, or all cores. On a CPU each utterance is decoded by itself (decision 47)."""
        items = _GPU_BATCH if self._resource_class == "gpu" else _CPU_CALL
        return Usage(group_items=items, group_seconds=items * WINDOW_SECONDS, parallel_calls=1)

    def close(self) -> None:
        """Free the model."""
        self._model = None
        self._identity = None

    def language_of(self, params: TranscribeParameters) -> str | None:
        """As ordered; None where it is to be heard. Raises BadInput (language_not_supported)."""
        name = self._language(params.language)
        return None if name is None else _TAGS.get(name, name)

    def utterances(self, audio: Audio, params: TranscribeParameters) -> Iterator[Span]:
        """Speech in pieces that fill Whisper's window, cut at pauses; one that is `sequential` is not cut."""
        samples = recogniser_samples(audio)
        if params.sequential:
            return iter((Span(0, len(samples)),))
        return filled(samples, longest_seconds=WINDOW_SECONDS, leave_out_silence=params.vad)

    def hears_language_first(self, params: TranscribeParameters) -> bool:
        """So that all utterances of a recording are taken for one language."""
        return params.language == "auto" and not params.sequential

    def detect(self, audios: Sequence[Audio]) -> list[Detected | AudiomillError]:
        """By the encoder and one step of the decoder. Raises OperatorError (`device_failed`)."""
        model = self._loaded()
        try:
            with self._cores():
                found = [
                    one
                    for batch in self._batches([recogniser_samples(audio) for audio in audios])
                    for one in languages(model, batch)
                ]
        except RuntimeError as error:
            check_device(NAME, error)
            raise
        return [Detected(_TAGS.get(name, name), probability) for name, probability in found]

    def transcribe(
        self, audios: Sequence[Audio], params: TranscribeParameters, progress: Progress | None = None
    ) -> list[Transcript | AudiomillError]:
        """Transcribe or translate. An utterance's error: BadInput (language_not_supported) or EngineFailed.

        Raises OperatorError (`device_failed`).
        """
        self._loaded()
        try:
            language = self._language(params.language)
        except BadInput as error:
            return [error for _ in audios]
        if params.sequential:
            return [
                self._sequentially(index, recogniser_samples(audio), language, params, progress)
                for index, audio in enumerate(audios)
            ]
        results: list[Transcript | AudiomillError] = []
        for batch in self._batches([recogniser_samples(audio) for audio in audios]):
            results += self._together(batch, params, language)
            if progress is not None:
                for index in range(len(results) - len(batch), len(results)):
                    progress(index, 1.0)
        return results

    def _together(
        self, batch: Sequence[NDArray[np.float32]], params: TranscribeParameters, language: str | None
    ) -> list[Transcript | AudiomillError]:
        try:
            with self._cores():
                model = self._loaded()
                heard = [None] * len(batch) if language is not None else languages(model, batch)
                # A language that was not heard before is heard in the first: all of a call are decoded alike.
                name = language or (heard[0] or ("en", 0.0))[0]
                found = decoded(model, batch, params, name)
        except (RuntimeError, ValueError) as error:  # all that CTranslate2 raises
            if len(batch) > 1:
                return [one for each in batch for one in self._together([each], params, language)]
            check_device(NAME, error)
            return [EngineFailed(f"faster-whisper could not decode the recording: {error}.")]
        return [
            Transcript(segments, _TAGS.get(name, name), None, len(samples) / SAMPLE_RATE_HZ)
            for segments, samples in zip(found, batch, strict=True)
        ]

    def _batches(self, utterances: Sequence[NDArray[np.float32]]) -> Iterator[Sequence[NDArray[np.float32]]]:
        size = _GPU_BATCH if self._resource_class == "gpu" else _CPU_BATCH
        for start in range(0, len(utterances), size):
            yield [np.ascontiguousarray(samples) for samples in utterances[start : start + size]]

    def _cores(self) -> AbstractContextManager[int]:
        # On a GPU one core still makes spectrograms and listens for speech.
        return self._budget.take(self._budget.cores if self._resource_class == "cpu" else 1)

    def _loaded(self) -> "WhisperModel":
        if self._model is None:
            raise RuntimeError("load a model first")
        return self._model

    def _sequentially(
        self,
        index: int,
        samples: NDArray[np.float32],
        language: str | None,
        params: TranscribeParameters,
        progress: Progress | None,
    ) -> Transcript | AudiomillError:
        try:
            with self._cores():
                if self._sampled:
                    self._build()
                return self._one(index, samples, language, params, progress)
        except (RuntimeError, ValueError) as error:
            check_device(NAME, error)
            return EngineFailed(f"faster-whisper could not decode the recording: {error}.")

    def _one(
        self,
        index: int,
        samples: NDArray[np.float32],
        language: str | None,
        params: TranscribeParameters,
        progress: Progress | None,
    ) -> Transcript:
        seconds = len(samples) / SAMPLE_RATE_HZ
        segments: list[Segment] = []
        probability: float | None = None
        for piece in pieces(samples, longest_seconds=PIECE_SECONDS):
            part = np.ascontiguousarray(samples[piece.start : piece.end])
            offset = piece.start / SAMPLE_RATE_HZ
            found, detected, certainty = self._decoded(part, language, params)
            if detected is not None and language is None:
                # The first piece with speech decides, as Whisper's first 30 seconds do.
                language, probability = detected, certainty
            for segment in found:
                segments.append(_segment(segment, offset))
                if progress is not None:
                    progress(index, min(1.0, segments[-1].end_seconds / seconds))
        # `und`: BCP 47's tag for a language that nobody could tell.
        return Transcript(tuple(segments), _TAGS.get(language or "", language) or "und", probability, seconds)

    def _decoded(
        self, samples: NDArray[np.float32], language: str | None, params: TranscribeParameters
    ) -> "tuple[Iterator[WhisperSegment], str | None, float | None]":
        """Segments (decoded as they are read), the language and its probability; no segments where nobody speaks."""
        segments, information = self._loaded().transcribe(
            samples,
            language=language,
            task=params.task,
            beam_size=params.beam_size,
            temperature=list(params.temperatures),
            word_timestamps=params.word_timestamps,
            vad_filter=params.vad,
            initial_prompt=params.initial_prompt,
            hotwords=", ".join(params.hotwords) or None,
        )
        if params.vad and not information.duration_after_vad:
            return iter(()), None, None
        return iter(segments), str(information.language), float(information.language_probability)

    def _build(self) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel

        gpu = self._resource_class == "gpu"
        self._model = None  # let the old one go first: two might not fit
        ctranslate2.set_random_seed(SEED)
        try:
            self._model = WhisperModel(
                str(self._folder),
                device="cuda" if gpu else "cpu",
                compute_type="float16" if gpu else "int8",
                cpu_threads=1 if gpu else self._budget.cores,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineUnavailable(
                f"faster-whisper cannot load the weights in {self._folder.name!r}: {error}."
            ) from error
        self._sampled = False
        self._note_sampling(self._model)

    def _note_sampling(self, model: "WhisperModel") -> None:
        """Note when a temperature above 0 was tried, also where no segment came of it."""
        decode = model.generate_with_fallback

        def noting(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 - handed through as it comes
            result = decode(*arguments, **keywords)
            self._sampled = self._sampled or result[2] > 0  # the last temperature tried
            return result

        model.generate_with_fallback = noting

    def _language(self, tag: str) -> str | None:
        """Whisper's name of a language; None to detect it. Raises BadInput."""
        if tag == "auto":
            return None
        wanted = tag.lower().replace("_", "-")
        name = _WHISPER_NAMES.get(wanted, wanted)
        base = name.split("-")[0]
        base = _WHISPER_NAMES.get(base, base)
        known: list[str] = [] if self._model is None else self._model.supported_languages
        for candidate in (name, base):
            if candidate in known:
                return candidate
        raise BadInput(
            f"This Whisper model does not know the language {tag!r}. It knows: "
            f"{', '.join(sorted(_TAGS.get(code, code) for code in known))}.",
            code="language_not_supported",
        )


def _segment(segment: "WhisperSegment", offset: float) -> Segment:
    words: list[Any] = segment.words or []
    return Segment(
        segment.text.strip(),
        round(offset + float(segment.start), 3),
        round(offset + float(segment.end), 3),
        tuple(
            Word(
                word.word.strip(),
                round(offset + float(word.start), 3),
                round(offset + float(word.end), 3),
                round(min(1.0, max(0.0, float(word.probability))), 4),
            )
            for word in words
        ),
    )


def _has_gpu() -> bool:
    """Whether CTranslate2 sees a GPU; False too when asking fails (no driver)."""
    import ctranslate2

    try:
        return int(ctranslate2.get_cuda_device_count()) > 0
    except RuntimeError:
        return False


def _languages(model: str) -> tuple[str, ...]:
    """Whisper's languages, from its tokenizer's table: no weights are read."""
    if model.endswith(".en"):
        return ("en",)
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    codes: tuple[str, ...] = _LANGUAGE_CODES
    return tuple(sorted(_TAGS.get(code, code) for code in codes))
