"""A film ordered as a dub, each of its steps worked off as a batch of its own: what its customer gets, and what its
receipts say; an edit of nothing is recalled; what cannot be dubbed fails alone."""

import json
import shutil
import uuid

import pytest

from audiomill.audio.remux import tracks
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.engines.translation import apertium
from audiomill.engines.translation.apertium import Apertium
from audiomill.engines.translation.protocol import Pair
from audiomill.errors import BadRequest, Conflict, EngineUnavailable
from audiomill.jobs.lines import edit_lines, read_lines
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.lines.editing import LineEdit
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


def revised(mill, job, *edits, **keywords):
    return edit_lines(
        mill.database, mill.store, mill.settings, workspace_id=WORKSPACE, job_id=job,
        edits=[LineEdit.model_validate(edit) for edit in edits], **keywords,
    )  # fmt: skip


def counted(mill, monkeypatch):
    """What the engine is asked to speak from now on, and which objects the store is given."""
    spoken, stored = [], []
    synthesize, store = Espeak.synthesize, type(mill.store)

    def speaking(self, texts, *rest, **keywords):
        spoken.extend(texts)
        return synthesize(self, texts, *rest, **keywords)

    def storing(put):
        def wrapped(self, key, *rest, **keywords):
            stored.append(key)
            return put(self, key, *rest, **keywords)

        return wrapped

    monkeypatch.setattr(Espeak, "synthesize", speaking)
    for name in ("put_bytes", "put_file"):
        monkeypatch.setattr(store, name, storing(getattr(store, name)))
    return spoken, stored


def test_one_edited_line_makes_that_line_the_mix_and_the_film(mill, recording, tmp_path, monkeypatch):
    path = film(tmp_path / "film.mp4", [recording.sound])
    (job,) = ordered(
        mill, path.read_bytes(), subtitles=recording.srt("target"), source_subtitles=recording.srt("source")
    )
    worked_off(mill)
    first = mill.files(job)
    before = read_lines(mill.database, mill.store, workspace_id=WORKSPACE, job_id=job)
    line = before.document.lines[1]
    edit = {"id": line.id, "translation": "Ahora digo otra cosa."}
    spoken, stored = counted(mill, monkeypatch)
    told = revised(mill, job, edit, dry_run=True)
    assert (told.revision, told.changed, stored) == (None, (line.id,), [])
    cost = {each.step: each.seconds for each in told.cost}
    whole = before.document.duration_ms / 1000
    assert set(cost) == {"speak", "mix", "mux"}
    assert cost["speak"] == (line.end_ms - line.start_ms) / 1000 < whole
    assert cost["mix"] == pytest.approx(whole, abs=0.1)
    assert revised(mill, job, edit).revision == 2
    assert mill.files(job) == first, "until it is complete"
    assert len(worked_off(mill)) == 3
    assert spoken == ["Ahora digo otra cosa."]
    kinds = sorted({tuple(key.split("/")[:1] + key.split("/")[2:3]) for key in stored if key.startswith("artifacts/")})
    assert kinds == [("artifacts", "cast"), ("artifacts", "mix"), ("artifacts", "mux"), ("artifacts", "speak")]
    lines_kept = [key for key in stored if "/speak/" in key and key.endswith(".wav")]
    assert len(lines_kept) == 1
    assert all(f"/{job}/v2." in key for key in stored if key.startswith("outputs/"))
    second = mill.files(job)
    assert {name for name in first if first[name] == second[name]} == {
        "voice.flac", "voice.flac.receipt.json", "background.flac", "background.flac.receipt.json", "source.srt",
    }  # fmt: skip
    after = read_lines(mill.database, mill.store, workspace_id=WORKSPACE, job_id=job)
    assert (after.revision, after.document.lines[1].translation) == (2, "Ahora digo otra cosa.")
    kept = [place for place in range(len(before.document.lines)) if place != 1]
    assert [after.document.lines[at].spoken_ms for at in kept] == [before.document.lines[at].spoken_ms for at in kept]
    assert read_lines(mill.database, mill.store, workspace_id=WORKSPACE, job_id=job, revision=1) == before
    receipt = json.loads(second["dub.mp4.receipt.json"])["receipt"]
    assert receipt["revision"] == 2
    (cast,) = [step for step in receipt["steps"] if step["name"] == "cast"]
    assert ("edited_by_customer", 1) in [(check["name"], check["value"]) for check in cast["checks"]]
    # Said again, it changes nothing; taken back, all is known but the film.
    assert (revised(mill, job, edit).revision, revised(mill, job, edit).changed) == (None, ())
    spoken.clear()
    assert revised(mill, job, {"id": line.id, "translation": line.translation}, expected=2).revision == 3
    worked_off(mill)
    assert spoken == []
    assert mill.deliverables(job) == {name: data for name, data in first.items() if not name.endswith(".receipt.json")}


def test_an_edit_that_no_engine_can_follow_leaves_the_dub_as_it_was(mill, recording, tmp_path):
    path = film(tmp_path / "film.mp4", [recording.sound])
    job, other = ordered(
        mill, *2 * [path.read_bytes()], subtitles=recording.srt("target"), source_subtitles=recording.srt("source")
    )
    with pytest.raises(Conflict):
        revised(mill, job, {"id": "L00001", "voice": "nobody"})
    worked_off(mill)
    before = mill.files(job)
    assert revised(mill, job, {"id": "L00001", "voice": "nobody"}).revision == 2
    assert revised(mill, other, {"id": "L00001", "voice": "roa/es+f2", "text": "Shown only."}).revision == 2
    with pytest.raises(Conflict):
        revised(mill, job, {"id": "L00002", "translation": "Sí."})
    worked_off(mill)
    assert mill.files(job) == before
    assert mill.job(other).revision == 2
    assert b"Shown only." in mill.files(other)["source.srt"]
    failed = mill.job(job).revisions[-1]
    assert failed["state"] == "failed"
    assert is_sentence(failed["failure_reason"])
    with pytest.raises(BadRequest):
        revised(mill, job, {"id": "nobody", "translation": "Sí."})
    with pytest.raises(Conflict):
        revised(mill, job, {"id": "L00002", "translation": "Sí."}, expected=2)


@installed
def test_a_line_whose_text_is_edited_is_translated_anew_alone(mill, recording, tmp_path, monkeypatch):
    calls = []
    translate = Apertium.translate
    monkeypatch.setattr(
        Apertium,
        "translate",
        lambda self, sentences, *rest: (
            calls.extend(sentence.text for sentence in sentences) or translate(self, sentences, *rest)
        ),
    )
    path = film(tmp_path / "film.mp4", [recording.sound])
    (job,) = ordered(
        mill, path.read_bytes(), parameters={"source_language": "en"}, source_subtitles=recording.srt("source")
    )
    worked_off(mill)
    assert revised(mill, job, {"id": "L00001", "translation": "Otra cosa."}).revision == 2
    worked_off(mill)
    calls.clear()
    came = revised(mill, job, {"id": "L00002", "text": "The house is green."})
    assert [each.step for each in came.cost] == ["translate", "speak", "mix", "mux"]
    worked_off(mill)
    assert calls == ["The house is green."]
    files = mill.files(job)
    lines = json.loads(files["lines.json"])["lines"]
    assert "verde" in lines[1]["translation"]
    assert lines[0]["translation"] == "Otra cosa."
    steps = json.loads(files["dub.mp4.receipt.json"])["receipt"]["steps"]
    edits = [check["value"] for step in steps for check in step["checks"] if check["name"] == "edited_by_customer"]
    assert edits == [2]


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
