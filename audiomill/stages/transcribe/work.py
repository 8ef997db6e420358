"""The stage `transcribe`: recordings in, transcripts out. Its own part only; the stream is milling/stream.py."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import cast

from audiomill.audio import Audio
from audiomill.audio.blocks import let_go
from audiomill.audio.decode import decode
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.speech_to_text.protocol import Detected, SpeechToText
from audiomill.engines.speech_to_text.recordings import cut, joined
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.bench import Bench, unit_key
from audiomill.milling.delivery import Made, deliver, making_key
from audiomill.milling.fetching import fetch_input
from audiomill.milling.stage import Finished, Opened, StageWork, Unit
from audiomill.quality import require
from audiomill.stages.transcribe.checks import judge_transcript
from audiomill.stages.transcribe.language import guessed_language
from audiomill.transcripts import Transcript
from audiomill.transcripts.formats import parse_json, render


@dataclass
class Recording:
    """A recording at hand: mono, at the engine's rate, mapped from a file. known: what an earlier job made of it.

    heard: its language, once that is heard. starts: the second at which each of its utterances begins, in their order.
    """

    audio: Audio
    params: TranscribeParameters
    known: Transcript | None
    heard: Detected | None = None
    starts: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Utterance:
    """A piece of a recording. to_detect: its language is wanted, and no text. keyed: its transcript is kept."""

    audio: Audio
    params: TranscribeParameters
    to_detect: bool = False
    keyed: bool = False


Heard = Transcript | Detected
"""Of one utterance."""

WORTH_KEEPING_SECONDS = 60.0
"""Of a recording. What is shorter is heard again sooner than its utterances are stored, each by itself."""


class Transcribing(StageWork[Recording, Utterance, Heard, Heard]):
    """What the stream must know of this stage. Its units are utterances."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._engine = cast("SpeechToText", bench.engine)

    def open(self, item: ClaimedItem, attempt: int, folder: Path) -> Opened[Recording]:
        """Fetch and decode to the engine's rate, mono. Raises BadInput, LimitExceeded."""
        bench = self._bench
        params = TranscribeParameters.model_validate(item.options)
        path = folder / "input"
        sha256 = fetch_input(bench.store, item, path, bench.settings)
        decoded = decode(
            path,
            sample_rate_hz=self._engine.sample_rate_hz,
            mono=True,
            spool=folder / "samples",
            limits=bench.settings.limits,
        )
        key = making_key(item.workspace_id, item.stage, self._engine.identity, sha256, item.options)
        stored = bench.known(key)
        return Opened(
            item=item,
            attempt=attempt,
            folder=folder,
            material=Recording(decoded.audio, params, None if stored is None else parse_json(stored)),
            seconds=decoded.audio.seconds,
            input_sha256=sha256,
            artifact_key=key,
            known=stored is not None,
            flaws=decoded.flaws,
        )

    def units(self, opened: Opened[Recording]) -> Iterator[Unit[Utterance]]:
        """Its utterances; where the language is to be heard, the first says it before the others are cut.

        Raises BadInput for a language that the engine does not know.
        """
        recording, engine = opened.material, self._engine
        engine.language_of(recording.params)
        spans = engine.utterances(recording.audio, recording.params)
        first = next(spans, None)
        if first is None:
            return
        params = recording.params.model_copy(update={"formats": ("json",)})
        if engine.hears_language_first(params):
            yield Unit(Utterance(cut(recording.audio, first), params, to_detect=True), 0.0, "language", first=True)
            assert recording.heard is not None  # noqa: S101 - gathered before this goes on
            params = params.model_copy(update={"language": recording.heard.language})
        for span in chain([first], spans):
            recording.starts.append(span.start / recording.audio.sample_rate_hz)
            piece = cut(recording.audio, span)
            worth = opened.seconds >= WORTH_KEEPING_SECONDS
            key = unit_key(opened.artifact_key, span.start, span.end, params.language) if worth else None
            yield Unit(Utterance(piece, params, keyed=worth), piece.seconds, params, key=key)

    def run(self, engine: Engine, units: Sequence[Unit[Utterance]], progress: Progress) -> list[Heard | AudiomillError]:
        """One call. All utterances have the same parameters."""
        recogniser, first = cast("SpeechToText", engine), units[0].payload
        audios = [unit.payload.audio for unit in units]
        if first.to_detect:
            return [*recogniser.detect(audios)]
        results = recogniser.transcribe(audios, first.params, progress)
        for audio in audios:
            let_go(audio.samples)
        return [
            _as_kept(result) if unit.payload.keyed and isinstance(result, Transcript) else result
            for unit, result in zip(units, results, strict=True)
        ]

    def gather(self, opened: Opened[Recording], index: int, result: Heard) -> Heard:  # noqa: ARG002 - the protocol's
        """A transcript is small; a language is what the other units wait for."""
        if isinstance(result, Detected):
            opened.material.heard = result
        return result

    def recall(self, keys: Collection[str]) -> Mapping[str, Heard]:
        """Transcripts of utterances of a recording that a run before did not bring to its end."""
        return {key: parse_json(data) for key, data in self._bench.units(keys).items()}

    def keep(self, opened: Opened[Recording], results: Mapping[str, Heard]) -> None:
        """As JSON."""
        found = {key: render(one, "json") for key, one in results.items() if isinstance(one, Transcript)}
        self._bench.keep_units(opened.item, found, ".json")

    def finish(self, engine: Engine, opened: Opened[Recording], kept: Sequence[Heard], seconds: float) -> Finished:
        """Join, judge, render, store. Raises QualityRejected."""
        recording, identity = opened.material, engine.identity
        audio, params = recording.audio, recording.params
        result = recording.known
        if result is None:
            parts = [part for part in kept if isinstance(part, Transcript)]
            timed = zip(recording.starts, parts, strict=True)
            result = joined(self._engine, timed, params, seconds=audio.seconds, heard=recording.heard)
        checks = judge_transcript(result, audio)
        if params.language == "auto" and identity.only_language is not None:
            checks += guessed_language(
                result,
                identity.only_language,
                filename=opened.item.filename,
                limit=self._bench.settings.quality.least_confidence,
            )
        require(checks)
        made = Made(
            artifact=render(result, "json"),
            artifact_suffix=".json",
            files={f"transcript.{form}": render(result, form) for form in dict.fromkeys(params.formats)},
            checks=checks,
            recording_seconds=audio.seconds,
            audio_seconds=audio.seconds,
        )
        delivered = deliver(self._bench.store, self._bench.key, identity, opened, made, seconds)
        return Finished(delivered, audio)


def _as_kept(transcript: Transcript) -> Transcript:
    """As it is recalled: times in milliseconds. So an item comes to the same, whatever of it was kept."""
    return parse_json(render(transcript, "json"))
