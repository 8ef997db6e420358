"""What a customer should know of a result stands on the job; what was hardly understood, in a language that nobody
named and by an engine that knows one only, is refused."""

import json

import pytest
from typer.testing import CliRunner

from audiomill.cli.main import app
from audiomill.engines.protocol import EngineIdentity
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_job
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.settings import get_settings
from tests.fakes.recordings import mp3
from tests.fakes.scripted_engine import NAME, Scripted
from tests.pipeline.conftest import WORKSPACE


@pytest.fixture
def english_only(monkeypatch):
    """The scripted engine knows one language, in two accents."""
    identity = EngineIdentity(NAME, "1", None, None, languages=("en", "en-us"))
    monkeypatch.setattr(Scripted, "identity", property(lambda _: identity))


@pytest.fixture
def milled(definitions, database, store, settings, materialise):
    """Order a recording under a script, work it off, and give the job and its run."""

    def mill(script, *, data=None, **parameters):
        key = f"uploads/{WORKSPACE}/{script}"
        store.put_bytes(key, data or mp3())
        given = InputObject(key, store.version(key), store.stat(key).size_bytes, "x.mp3")
        order = NewJob("transcribe", {"engine": NAME, "initial_prompt": script, **parameters}, given)
        with database.session() as session:
            (job_id,) = submit(
                session, workspace_id=WORKSPACE, source="api", idempotency_key=key, jobs=[order], settings=settings
            ).job_ids
            (batch_id,) = form_batches(session, settings)
        run = materialise(batch_id)
        with database.session() as session:
            return get_job(session, None, job_id), run

    return mill


def codes(job):
    return [warning["code"] for warning in job.warnings]


def test_a_recording_that_was_cut_off_is_told_on_the_job_as_on_its_receipts(milled, store):
    whole = mp3()
    job, run = milled("say:hello there", data=whole[: len(whole) // 2 + 7])
    assert (job.state, codes(job)) == ("complete", ["cut_off"])
    assert "it was probably cut off. What is there was used." in job.warnings[0]["sentence"]
    receipt = next(output for output in job.outputs if output.name == "transcript.txt.receipt.json")
    checks = json.loads(store.get_bytes(receipt.object_key))["receipt"]["checks"]
    assert [check["name"] for check in checks if not check["passed"]] == codes(job)
    assert run.success
    assert not any("cut off" in str(event) for event in run.all_events), "no sentence of a customer's in Dagster"
    shown = CliRunner().invoke(app, ["jobs", "show", job.id])
    assert (shown.exit_code, "warning" in shown.stdout) == (0, True), shown.output
    assert "it was probably cut off" in " ".join(shown.stdout.split())


def test_what_is_well_has_no_warnings(milled, english_only):
    job, _ = milled("say:hello there")
    assert (job.state, job.warnings) == ("complete", [])


def test_an_unnamed_language_that_the_only_one_could_not_be_is_refused(milled, english_only, store):
    job, _ = milled("guess:gluten more gun")
    assert (job.state, job.failure_code, job.outputs) == ("failed", "doubtful_language", ())
    assert job.failure_reason == (
        "'x.mp3' was taken for English, the only language that the engine here knows, and could hardly be understood "
        "(confidence 0.20 of 1). Name its language (`language`), or order it with an engine for its language."
    )


def test_where_the_language_was_named_it_is_a_warning(milled, english_only):
    job, _ = milled("guess:gluten more gun", language="en")
    assert (job.state, codes(job)) == ("complete", ["low_confidence"])
    assert "not sure of what it heard" in job.warnings[0]["sentence"]


def test_low_confidence_stands_on_the_receipts(milled, english_only, store):
    job, _ = milled("guess:gluten more gun", language="en")
    receipts = [output for output in job.outputs if output.name.endswith(".receipt.json")]
    assert receipts
    for receipt in receipts:
        checks = json.loads(store.get_bytes(receipt.object_key))["receipt"]["checks"]
        (doubt,) = [check for check in checks if not check["passed"]]
        assert doubt["name"] == "low_confidence"
        assert float(doubt["value"]) < float(doubt["limit"])


def test_an_engine_that_can_detect_a_language_is_believed(milled):
    job, _ = milled("guess:gluten more gun")
    assert (job.state, codes(job)) == ("complete", ["low_confidence"])


def test_an_installation_may_never_refuse(milled, english_only, monkeypatch):
    monkeypatch.setenv("AUDIOMILL_QUALITY__LEAST_CONFIDENCE", "0")
    get_settings.cache_clear()
    job, _ = milled("guess:gluten more gun")
    get_settings.cache_clear()
    assert (job.state, codes(job)) == ("complete", ["low_confidence"])
