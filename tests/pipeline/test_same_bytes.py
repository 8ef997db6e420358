"""Same input, recipe and engine version: the same files, whatever the batch, the order, the workers, or what was made
before. Receipts carry times and are not part of it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from dagster import DagsterInstance, Definitions
from sqlalchemy import func, select

from audiomill.accounts.workspaces import ensure_workspace
from audiomill.audio import decode, encode, resampled
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Workspace
from audiomill.engines.cores import CoreBudget
from audiomill.engines.registry import available
from audiomill.engines.speech_to_text.pocketsphinx import Pocketsphinx
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.jobs.availability import report
from audiomill.settings import LimitSettings, Settings, get_settings
from audiomill.storage import ObjectStore
from tests.fakes.orders import wipe
from tests.pipeline.conftest import WORKSPACE
from tests.pipeline.milling import Mill

TEXTS = (
    "please close the door and open the window",
    "the river is wide and the bridge is old, so we walk",
    "good morning, it is ten o'clock and everybody is at work",
    "open the book and read the second page",
)
ENGLISH = {"language": "en"}
Files = list[Mapping[str, bytes]]


@pytest.fixture(scope="module")
def recordings_of_texts(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The texts as spoken by espeak-ng, at rates and in containers of several kinds."""
    folder = tmp_path_factory.mktemp("espeak")
    espeak = Espeak(model_store=folder, budget=CoreBudget(folder, 1))
    spoken = [speech.audio for speech in espeak.synthesize(TEXTS, SynthesizeParameters(rate_wpm=150))]
    forms = ((16_000, "wav"), (22_050, "flac"), (44_100, "mp3"), (48_000, "wav"))
    return [encode(resampled(audio, rate), form).data for audio, (rate, form) in zip(spoken, forms, strict=True)]


@pytest.fixture
def mill(
    database: Database, store: ObjectStore, settings: Settings, definitions: Definitions, instance: DagsterInstance
) -> Mill:
    return Mill(database, store, settings, definitions, instance)


@pytest.fixture
def anew(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Forget all that was ordered and made, and go on with so many cores."""

    def begin(cores: int) -> None:
        wipe(database)
        with database.session() as session:
            session.merge(Workspace(id=WORKSPACE, name=WORKSPACE))
            report(session, worker="test", rows=available(settings))
        monkeypatch.setenv("AUDIOMILL_CPU__CORES", str(cores))
        get_settings.cache_clear()
        assert get_settings().cpu.cores == cores

    yield begin
    get_settings.cache_clear()


def made(
    mill: Mill, inputs: Sequence[bytes], recipe: str, *, order: Sequence[int], batches: int, **parameters: str
) -> Files:
    """The files of each input, in the inputs' order, when they are ordered in `order` and worked off in `batches`."""
    found: dict[int, Mapping[str, bytes]] = {}
    worked: list[str] = []
    for part in np.array_split(np.array(order), batches):
        jobs = mill.order([inputs[index] for index in part], recipe, **parameters)
        worked += mill.work()
        found |= {int(index): mill.deliverables(job) for index, job in zip(part, jobs, strict=True)}
    # A part makes more than one where the engine was measured slow here: lanes go by expected time (decision 37).
    assert len(worked) >= batches
    return [found[index] for index in range(len(inputs))]


def decoded(files: Mapping[str, bytes], folder: Path) -> dict[str, bytes]:
    """The samples of each file as bytes."""
    samples = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        samples[name] = decode(folder / name, limits=LimitSettings()).audio.samples.tobytes()
    return samples


VARIANTS = [(1, 4, (0, 1, 2, 3)), (2, 1, (3, 2, 1, 0)), (2, 2, (2, 0, 3, 1))]


def test_transcripts_do_not_depend_on_batch_order_and_workers(
    mill: Mill, anew: Callable[[int], None], recordings_of_texts: list[bytes]
) -> None:
    anew(1)
    first = made(mill, recordings_of_texts, "transcribe", order=range(4), batches=1, **ENGLISH)
    assert all(set(files) == {f"transcript.{form}" for form in ("txt", "srt", "vtt", "tsv", "json")} for files in first)
    assert len({files["transcript.txt"] for files in first}) == 4, "each says something else"
    for cores, batches, order in VARIANTS:
        anew(cores)
        again = made(mill, recordings_of_texts, "transcribe", order=order, batches=batches, **ENGLISH)
        assert again == first, f"{cores} cores, {batches} batches, order {order}"


def test_speech_does_not_depend_on_batch_order_and_workers(
    mill: Mill, anew: Callable[[int], None], tmp_path: Path
) -> None:
    texts = [text.encode() for text in TEXTS]
    anew(1)
    first = made(mill, texts, "voiceover", order=range(4), batches=1)
    assert all(set(files) == {"speech.wav", "speech.flac", "speech.mp3"} for files in first)
    payload = [decoded(files, tmp_path) for files in first]
    assert len({each["speech.wav"] for each in payload}) == 4
    for cores, batches, order in VARIANTS:
        anew(cores)
        again = made(mill, texts, "voiceover", order=order, batches=batches)
        assert [decoded(files, tmp_path) for files in again] == payload, f"{cores} cores, {batches} batches"
        # The codecs of these three allow more: the very files are the same.
        assert again == first


def artifacts(mill: Mill) -> int:
    with mill.database.session() as session:
        return session.scalar(select(func.count()).select_from(Artifact)) or 0


def never(*_: object) -> None:
    raise AssertionError("the engine was asked again")


def test_another_recipe_of_the_same_recording_finds_what_was_made(
    mill: Mill, recordings_of_texts: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = mill.order(recordings_of_texts[:1], "transcribe", **ENGLISH)
    mill.work()
    monkeypatch.setattr(Pocketsphinx, "transcribe", never)
    (subtitles,) = mill.order(recordings_of_texts[:1], "subtitles", **ENGLISH)
    mill.work()
    expected = {name: data for name, data in mill.deliverables(whole).items() if name.endswith((".srt", ".vtt"))}
    assert mill.deliverables(subtitles) == expected
    assert artifacts(mill) == 1
    receipts = [json.loads(mill.files(job)["transcript.srt.receipt.json"])["receipt"] for job in (whole, subtitles)]
    assert [receipt["job_id"] for receipt in receipts] == [whole, subtitles], "each job has a receipt of its own"
    assert receipts[0]["output"] == receipts[1]["output"]
    assert receipts[0]["checks"] == receipts[1]["checks"]
    assert receipts[1]["processing_seconds"] == 0


def test_speech_of_an_earlier_job_gives_the_same_files_in_other_formats(
    mill: Mill, anew: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = [TEXTS[0].encode()]
    (plain,) = mill.order(text, "synthesize")
    mill.work()
    with monkeypatch.context() as guarded:
        guarded.setattr(Espeak, "synthesize", never)
        (reused,) = mill.order(text, "voiceover")
        mill.work()
        assert artifacts(mill) == 1
        after = mill.deliverables(reused)
        assert after["speech.wav"] == mill.deliverables(plain)["speech.wav"]
    anew(2)
    (fresh,) = mill.order(text, "voiceover")
    mill.work()
    assert mill.deliverables(fresh) == after, "a file made from the artifact is the file made from the engine's result"


def test_other_parameters_are_made_anew(mill: Mill, recordings_of_texts: list[bytes]) -> None:
    mill.order(recordings_of_texts[:1], "subtitles", **ENGLISH)
    mill.work()
    (wordless,) = mill.order(recordings_of_texts[:1], "transcribe", word_timestamps=False, **ENGLISH)
    mill.work()
    assert artifacts(mill) == 2
    found = json.loads(mill.deliverables(wordless)["transcript.json"])
    assert found["segments"]
    assert not any(segment.get("words") for segment in found["segments"])


def test_what_one_workspace_had_made_another_never_gets(
    mill: Mill, database: Database, recordings_of_texts: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session() as session:
        ensure_workspace(session, "rival")
    asked: list[int] = []
    really = Pocketsphinx.transcribe

    def counted(self: Pocketsphinx, audios: Sequence[object], *rest: object) -> object:
        asked.append(len(audios))
        return really(self, audios, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Pocketsphinx, "transcribe", counted)
    (ours,) = mill.order(recordings_of_texts[:1], **ENGLISH)
    mill.work()
    (theirs,) = mill.order(recordings_of_texts[:1], workspace_id="rival", **ENGLISH)
    mill.work()
    assert sum(asked) == 2, "a stranger's recording would be known by how fast its order was done"
    assert mill.deliverables(ours) == mill.deliverables(theirs)
    with database.session() as session:
        rows = session.execute(select(Artifact.workspace_id, Artifact.object_key)).all()
    assert sorted(row.workspace_id for row in rows) == [WORKSPACE, "rival"]
    assert all(row.object_key.startswith(f"artifacts/{row.workspace_id}/") for row in rows)
    for job_id, workspace in ((ours, WORKSPACE), (theirs, "rival")):
        assert all(output.object_key.startswith(f"outputs/{workspace}/") for output in mill.job(job_id).outputs)
