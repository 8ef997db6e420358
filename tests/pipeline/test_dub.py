"""A film ordered as a dub, each of its steps worked off as a batch of its own: what its customer gets, and what its
receipts say; an edit of nothing is recalled; what cannot be dubbed fails alone."""

import json
import shutil
import uuid

import pytest

from audiomill.audio.remux import tracks
from audiomill.engines.translation import apertium
from audiomill.engines.translation.apertium import Apertium
from audiomill.engines.translation.protocol import Pair
from audiomill.errors import BadRequest, EngineUnavailable
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.settings import LimitSettings
from audiomill.storage.keys import upload_key
from tests.fakes.films import film, talk
from tests.fakes.orders import order
from tests.pipeline.conftest import WORKSPACE
from tests.pipeline.milling import Mill
from tests.unit.test_audio_broken import is_sentence
from tests.unit.test_audio_remux import packets

installed = pytest.mark.skipif(
    shutil.which("apertium") is None or Pair("en", "es") not in apertium.sorted_modes(),
    reason="needs Debian's apertium and apertium-eng-spa",
)
ENGINES = {"separate": "rnnoise", "transcribe": "pocketsphinx", "speak": "espeak-ng"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return talk(tmp_path_factory.mktemp("talk"))


@pytest.fixture
def mill(database, store, settings, definitions, instance):
    return Mill(database, store, settings, definitions, instance)


def given(mill, data, filename, kind=None):
    key = upload_key(WORKSPACE, uuid.uuid4().hex)
    mill.store.put_bytes(key, data)
    return InputObject(key, mill.store.version(key), len(data), filename)


def ordered(mill, *sources, parameters=None, **roles):
    """Order a dub of each; returns the job ids."""
    parameters = {"target_language": "es", "engines": ENGINES} | (parameters or {})
    jobs = [
        NewJob(
            "dub", parameters, given(mill, data, "film.mp4"), "source",
            tuple((role, given(mill, text, f"{role}.srt")) for role, text in roles.items()),
        )
        for data in sources
    ]  # fmt: skip
    return order(mill.database, mill.settings, WORKSPACE, jobs).job_ids


def worked_off(mill):
    batches = []
    while formed := mill.work():
        batches += formed
    return batches


def test_a_film_with_imported_subtitles_comes_back_dubbed(mill, recording, tmp_path):
    path = film(tmp_path / "film.mp4", [recording.sound])
    (job,) = ordered(
        mill, path.read_bytes(), subtitles=recording.srt("target"), source_subtitles=recording.srt("source")
    )
    assert len(worked_off(mill)) == 5
    files = mill.files(job)
    names = {"dub.mp4", "voice.flac", "background.flac", "source.srt", "target.srt", "lines.json"}
    assert set(files) == names | {f"{name}.receipt.json" for name in names}
    out = tmp_path / "dub.mp4"
    out.write_bytes(files["dub.mp4"])
    assert [data for _, data, _, _ in packets(out, "video")] == [data for _, data, _, _ in packets(path, "video")]
    found = tracks(out, limits=LimitSettings())
    assert found.subtitle_languages[1] == "spa"
    assert [track.language for track in found.sound] == ["spa"]
    receipt = json.loads(files["dub.mp4.receipt.json"])
    checks = {check["name"]: check for check in receipt["receipt"]["checks"]}
    assert {"drift_median_ms", "drift_worst_ms", "loudness", "background_kept", "speech_without_dub"} <= set(checks)
    assert all(check["passed"] for check in checks.values())
    again = ordered(
        mill, path.read_bytes(), subtitles=recording.srt("target"), source_subtitles=recording.srt("source")
    )
    worked_off(mill)
    assert mill.deliverables(again[0]) == mill.deliverables(job)


def test_what_cannot_be_dubbed_fails_alone_and_says_why(mill, recording, tmp_path):
    good = film(tmp_path / "film.mp4", [recording.sound]).read_bytes()
    silent = film(tmp_path / "silent.mp4", []).read_bytes()
    jobs = ordered(
        mill, good, silent, b"no film", subtitles=recording.srt("target"), source_subtitles=recording.srt("source")
    )
    (empty,) = ordered(mill, good, subtitles=b" \n", source_subtitles=recording.srt("source"))
    worked_off(mill)
    assert [mill.job(job).state for job in (*jobs, empty)] == ["complete", "failed", "failed", "failed"]
    for job in (*jobs[1:], empty):
        assert is_sentence(mill.job(job).failure_reason), mill.job(job).failure_reason


def test_orders_that_no_engine_here_serves_are_refused(mill, recording):
    with pytest.raises(EngineUnavailable, match="qqq"):
        ordered(mill, b"x", parameters={"target_language": "qqq"}, subtitles=recording.srt("target"))
    with pytest.raises(EngineUnavailable, match="does not translate"):
        ordered(mill, b"x", parameters={"target_language": "th"})
    with pytest.raises(BadRequest, match="same language"):
        ordered(mill, b"x", parameters={"source_language": "es"})


@installed
def test_source_subtitles_are_translated_by_one_call_for_all_dubs_of_a_batch(mill, recording, tmp_path, monkeypatch):
    """And what was heard, where there are none: by an engine that hardly understands espeak-ng's voice."""
    calls = []
    translate = Apertium.translate
    monkeypatch.setattr(
        Apertium,
        "translate",
        lambda self, sentences, *rest: calls.append(len(sentences)) or translate(self, sentences, *rest),
    )
    films = [film(tmp_path / f"{n}.mp4", [recording.sound * (0.9 + 0.05 * n)]).read_bytes() for n in range(2)]
    jobs = ordered(
        mill, *films, parameters={"source_language": "en", "glossary": {"platform": "plataforma"}},
        source_subtitles=recording.srt("source"),
    )  # fmt: skip
    worked_off(mill)
    assert calls == [8]
    for job in jobs:
        lines = json.loads(mill.files(job)["lines.json"])["lines"]
        assert "plataforma" in lines[2]["translation"]
        assert "tren" in lines[0]["translation"]


@installed
def test_a_film_alone_is_heard_translated_and_spoken(mill, recording, tmp_path):
    path = film(tmp_path / "film.mp4", [recording.sound])
    (job,) = ordered(mill, path.read_bytes(), parameters={"source_language": "en"})
    worked_off(mill)
    found = json.loads(mill.files(job)["lines.json"])
    assert found["source_language"] == "en"
    assert all(line["text"] and line["translation"] for line in found["lines"])


def test_what_is_to_know_is_told_once(mill, recording, tmp_path):
    """What a step finds is a warning of its job, and on the receipts of who delivers what came of it."""
    path = film(tmp_path / "film.mp4", [recording.sound])
    overlapping = recording.srt("target") + b"\n9\n00:00:02,000 --> 00:00:06,000\nAhora mismo.\n"
    (job,) = ordered(mill, path.read_bytes(), subtitles=overlapping, source_subtitles=recording.srt("source"))
    worked_off(mill)
    codes = [warning["code"] for warning in mill.job(job).warnings]
    assert codes.count("subtitles_overlap") == 1
    assert len(set(codes)) == len(codes)
    receipt = json.loads(mill.files(job)["dub.mp4.receipt.json"])["receipt"]
    assert [check["passed"] for check in receipt["checks"] if check["name"] == "subtitles_overlap"] == [False]
