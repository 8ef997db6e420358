"""The stage `transcribe`: recordings in, transcripts out. Its own part only; the stream is milling/stream.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from audiomill.audio import Audio
from audiomill.audio.decode import decode
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.speech_to_text.protocol import SpeechToText
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.bench import Bench
from audiomill.milling.delivery import Made, deliver, making_key
from audiomill.milling.fetching import fetch_input
from audiomill.milling.stage import Finished, Prepared
from audiomill.quality import require
from audiomill.stages.transcribe.checks import judge_transcript
from audiomill.stages.transcribe.language import guessed_language
from audiomill.transcripts import Transcript
from audiomill.transcripts.formats import parse_json, render


class Transcribing:
    """What the stream must know of this stage."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def prepare(self, item: ClaimedItem, attempt: int, folder: Path) -> Prepared[Audio, Transcript]:
        """Fetch and decode to the engine's rate, mono. Raises BadInput, LimitExceeded."""
        bench = self._bench
        engine = cast("SpeechToText", bench.engine)
        params = TranscribeParameters.model_validate(item.options)
        path = folder / "input"
        sha256 = fetch_input(bench.store, item, path, bench.settings)
        decoded = decode(
            path,
            sample_rate_hz=engine.sample_rate_hz,
            mono=True,
            spool=folder / "samples",
            limits=bench.settings.limits,
        )
        key = making_key(item.workspace_id, item.stage, engine.identity, sha256, item.options)
        stored = bench.known(key)
        return Prepared(
            item=item,
            attempt=attempt,
            payload=decoded.audio,
            group=params.model_copy(update={"formats": ("json",)}),
            seconds=decoded.audio.seconds,
            input_sha256=sha256,
            artifact_key=key,
            folder=folder,
            known=None if stored is None else parse_json(stored),
            flaws=decoded.flaws,
        )

    def run(
        self, engine: Engine, group: Sequence[Prepared[Audio, Transcript]], progress: Progress
    ) -> list[Transcript | AudiomillError]:
        """One call. All of a group have the same parameters."""
        params = TranscribeParameters.model_validate(group[0].item.options)
        return cast("SpeechToText", engine).transcribe([prepared.payload for prepared in group], params, progress)

    def finish(
        self, engine: Engine, prepared: Prepared[Audio, Transcript], result: Transcript, seconds: float
    ) -> Finished:
        """Judge, render, store. Raises QualityRejected."""
        params = TranscribeParameters.model_validate(prepared.item.options)
        identity = engine.identity
        checks = judge_transcript(result, prepared.payload)
        if params.language == "auto" and identity.only_language is not None:
            checks += guessed_language(
                result,
                identity.only_language,
                filename=prepared.item.filename,
                limit=self._bench.settings.quality.least_confidence,
            )
        require(checks)
        made = Made(
            artifact=render(result, "json"),
            artifact_suffix=".json",
            files={f"transcript.{form}": render(result, form) for form in dict.fromkeys(params.formats)},
            checks=checks,
            recording_seconds=prepared.payload.seconds,
            audio_seconds=prepared.payload.seconds,
        )
        delivered = deliver(self._bench.store, self._bench.key, identity, prepared, made, seconds)
        return Finished(delivered, prepared.payload)
