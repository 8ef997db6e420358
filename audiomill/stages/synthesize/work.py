"""The stage `synthesize`: texts in, speech out. Its own part only; the stream is milling/stream.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from audiomill.audio.decode import decode
from audiomill.audio.encode import encode_file, rounded
from audiomill.catalogue.speaking import least_seconds, speech_too_long
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.text_to_speech.protocol import Speech, TextToSpeech
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.lanes import estimated_seconds
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.inputs import check_text
from audiomill.milling.bench import Bench
from audiomill.milling.delivery import Made, deliver, making_key
from audiomill.milling.fetching import fetch_input, read_text
from audiomill.milling.stage import Finished, Prepared
from audiomill.quality import require
from audiomill.stages.synthesize.checks import judge_speech


class Synthesizing:
    """What the stream must know of this stage."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def prepare(self, item: ClaimedItem, attempt: int, folder: Path) -> Prepared[str, Speech]:
        """Fetch and check the text. Raises BadInput, LimitExceeded."""
        bench = self._bench
        path = folder / "input"
        sha256 = fetch_input(bench.store, item, path, bench.settings)
        text = read_text(path, item.filename)
        check_text(text, bench.settings)
        params = SynthesizeParameters.model_validate(item.options)
        if least_seconds(text, rate_wpm=params.rate_wpm) > bench.settings.limits.max_seconds:
            raise speech_too_long(bench.settings.limits.max_seconds)
        key = making_key(item.workspace_id, item.stage, bench.engine.identity, sha256, item.options)
        stored = bench.known(key)
        known = None
        if stored is not None:
            (folder / "known").write_bytes(stored)
            known = Speech(decode(folder / "known", limits=bench.settings.limits).audio)
        return Prepared(
            item=item,
            attempt=attempt,
            payload=text,
            group=params.model_copy(update={"formats": ("wav",)}),
            seconds=estimated_seconds(
                filename=item.filename, size_bytes=item.size_bytes, characters=len(text), kind="text"
            ),
            input_sha256=sha256,
            artifact_key=key,
            folder=folder,
            known=known,
        )

    def run(
        self, engine: Engine, group: Sequence[Prepared[str, Speech]], progress: Progress
    ) -> list[Speech | AudiomillError]:
        """One call. All of a group have the same parameters."""
        params = SynthesizeParameters.model_validate(group[0].item.options)
        return cast("TextToSpeech", engine).synthesize(
            [prepared.payload for prepared in group],
            params,
            progress,
            longest_seconds=self._bench.settings.limits.max_seconds,
        )

    def finish(self, engine: Engine, prepared: Prepared[str, Speech], result: Speech, seconds: float) -> Finished:
        """Judge, encode, store. Raises QualityRejected."""
        params = SynthesizeParameters.model_validate(prepared.item.options)
        checks = judge_speech(result, prepared.payload, params)
        require(checks)
        # Every file is encoded from the 16-bit sound that is stored, so that a job that finds the artifact of an
        # earlier one delivers the same bytes.
        stored = prepared.folder / "speech.wav"
        encode_file(result.audio, "wav", stored)
        sound = rounded(result.audio)
        files = {form: prepared.folder / f"speech.{form}" for form in dict.fromkeys(params.formats)}
        for form, path in files.items():
            if path != stored:
                encode_file(sound, form, path)
        made = Made(
            artifact=stored,
            artifact_suffix=".wav",
            files={path.name: path for path in files.values()},
            checks=checks,
            recording_seconds=None,
            audio_seconds=sound.seconds,
            characters=len(prepared.payload),
        )
        delivered = deliver(self._bench.store, self._bench.key, engine.identity, prepared, made, seconds)
        return Finished(delivered, sound)
