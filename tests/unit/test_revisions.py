"""Revisions of a complete job: what is made anew and what is taken over, which outputs are served, and every way in
which an edit may meet something else: another edit, a failure, a cancellation, the job's end.

A small plan stands for a dub: a and heard read the source, lines reads a, spoken reads lines, cut reads spoken and
heard.
"""

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, text, update

from audiomill.catalogue.plan import Step
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Job, JobEvent, Output, Revision, WorkItem
from audiomill.errors import AudiomillError, BadInput, Conflict, NotFound, QuotaExceeded
from audiomill.jobs import advance
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.manifests import batch_manifest
from audiomill.jobs.batches.workers import Fate
from audiomill.jobs.batches.working import ArtifactRecord, JobWarning, PartRecord
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.items import GIVEN_UP
from audiomill.jobs.queries import get_job
from audiomill.jobs.revisions import cancel_revision, revise
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.settings import Settings
from tests.fakes.orders import order, prepare, rested, wipe
from tests.fakes.plans import PLANTED, finish, fit, made, planted, runs, steps_of
from tests.unit.test_audio_broken import is_sentence

STEPS: tuple[Step, ...] = (
    fit("a", delivers=True),
    fit("heard", optional=True),
    fit("lines", "a/x"),
    fit("spoken", "lines/x"),
    fit("cut", "spoken/x", "heard/x", delivers=True),
)


@pytest.fixture(autouse=True)
def clean(database: Database) -> Iterator[None]:
    wipe(database)
    prepare(database, "acme", "rival")
    with planted(*STEPS):
        yield


def ordered(database: Database, settings: Settings) -> str:
    given = InputObject("uploads/1", "v1", 1000, "a.wav")
    (job_id,) = order(database, settings, "acme", [NewJob(PLANTED, {}, given)]).job_ids
    return job_id


def work(database: Database, settings: Settings, *, failing: str = "") -> list[str]:
    """All that can be done, a step after the other; the steps in the order in which they were done."""
    done: list[str] = []
    rested(database)
    while claims := runs(database, settings):
        for step, (claim, item) in sorted(steps_of(claims).items()):
            done.append(step)
            if step == failing:
                with database.session() as session:
                    working.begin(session, claim, [item.id])
                    assert working.fail_item(session, claim, item.id, BadInput("The voice is broken."))
            else:
                found = replace(made(item, "x"), warnings=(JobWarning(f"of_{step}", f"Of {step}, {item.revision}."),))
                finish(database, claim, item, found)
        for claim in claims:
            with database.session() as session:
                leases.close(session, claim)
    return done


def complete(database: Database, settings: Settings, *, failing: str = "") -> str:
    job_id = ordered(database, settings)
    work(database, settings, failing=failing)
    assert job(database, job_id).state == "complete"
    return job_id


def job(database: Database, job_id: str) -> Any:
    with database.session() as session:
        return get_job(session, "acme", job_id)


def record(name: str = "edited") -> ArtifactRecord:
    part = PartRecord(f"artifacts/{name}/x.json", "4" * 64, 9, "application/json")
    details = {"engine": "audiomill", "engine_version": "1", "model": None, "model_sha256": None, "seed": None}
    return ArtifactRecord(
        f"{name}-{uuid.uuid4().hex}",
        part.object_key,
        part.sha256,
        9,
        {**details, "processing_seconds": 0.0},
        {"x": part},
    )


def edit(
    database: Database,
    config: Settings,
    job_id: str,
    *,
    base: int = 1,
    name: str = "edited",
    workspace_id: str = "acme",
) -> int:
    with database.session() as session:
        return revise(
            session,
            workspace_id=workspace_id,
            job_id=job_id,
            base=base,
            replaced={"lines": record(name)},
            edited_lines=1,
            settings=config,
        )


def states(database: Database, job_id: str, revision: int) -> dict[str, tuple[str, int]]:
    with database.session() as session:
        items = session.scalars(
            select(WorkItem).where(WorkItem.job_id == job_id, WorkItem.revision == revision).order_by(WorkItem.id)
        )
        return {item.step: (item.state, item.made_in) for item in items}


def revision_of(database: Database, job_id: str, number: int) -> dict[str, Any]:
    (found,) = (each for each in job(database, job_id).revisions if each["revision"] == number)
    return dict(found)


def test_only_what_reads_the_edit_is_made_anew(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    assert edit(database, settings, job_id) == 2
    assert states(database, job_id, 2) == {
        "a": ("complete", 1),
        "heard": ("complete", 1),
        "lines": ("complete", 2),
        "spoken": ("queued", 2),
        "cut": ("waiting", 2),
    }
    view = job(database, job_id)
    assert (view.state, view.revision, view.progress) == ("complete", 1, 1.0)
    assert [(each["revision"], each["state"]) for each in view.revisions] == [(1, "complete"), (2, "open")]
    assert {output.name: output.version for output in view.outputs} == {"a.txt": 1, "cut.txt": 1}
    assert work(database, settings) == ["spoken", "cut"]
    view = job(database, job_id)
    assert (view.state, view.revision, view.stage) == ("complete", 2, "fit")
    assert {output.name: output.version for output in view.outputs} == {"a.txt": 1, "cut.txt": 2}
    assert revision_of(database, job_id, 2)["state"] == "complete"
    assert revision_of(database, job_id, 2)["progress"] == 1.0


def test_who_reads_it_is_given_the_edited_document(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    (item,) = claim.items
    assert (item.step, item.revision, item.inputs[0].object_key) == ("spoken", 2, "artifacts/edited/x.json")
    assert [step.step for step in item.made_by] == ["a", "lines"]


def test_a_second_edit_is_made_of_the_first(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    work(database, settings)
    assert edit(database, settings, job_id, base=2, name="again") == 3
    assert states(database, job_id, 3)["a"] == ("complete", 1)
    assert states(database, job_id, 3)["lines"] == ("complete", 3)
    assert work(database, settings) == ["spoken", "cut"]
    assert {output.name: output.version for output in job(database, job_id).outputs} == {"a.txt": 1, "cut.txt": 3}


def test_warnings_are_those_of_the_current_revision(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    before = [warning["sentence"] for warning in job(database, job_id).warnings]
    assert sorted(before) == sorted(f"Of {step.name}, 1." for step in STEPS)
    work(database, settings)
    told = [warning["sentence"] for warning in job(database, job_id).warnings]
    assert told == ["Of a, 1.", "Of heard, 1.", "Of lines, 1.", "Of spoken, 2.", "Of cut, 2."]


def test_what_was_left_out_stays_left_out(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings, failing="heard")
    edit(database, settings, job_id)
    assert states(database, job_id, 2)["heard"] == ("failed", 1)
    assert work(database, settings) == ["spoken", "cut"]
    assert job(database, job_id).revision == 2
    assert any("left out" in warning["sentence"] for warning in job(database, job_id).warnings)


def test_a_revision_that_fails_leaves_the_job_as_it_was_and_says_why(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    before = job(database, job_id)
    edit(database, settings, job_id)
    assert work(database, settings, failing="spoken") == ["spoken"]
    after = job(database, job_id)
    assert (after.state, after.revision, after.failure_reason) == ("complete", 1, None)
    assert (after.outputs, after.warnings) == (before.outputs, before.warnings)
    failed = revision_of(database, job_id, 2)
    assert (failed["state"], failed["failure_reason"]) == ("failed", "The voice is broken.")
    assert states(database, job_id, 2)["cut"] == ("cancelled", 2)
    assert edit(database, settings, job_id, name="better") == 3
    assert work(database, settings) == ["spoken", "cut"]
    assert job(database, job_id).revision == 3


def test_an_operator_who_runs_a_batch_again_does_not_touch_the_job(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    with database.session() as session:
        working.begin(session, claim, [claim.items[0].id])
        working.fail_item(session, claim, claim.items[0].id, BadInput("Broken."))
        leases.close(session, claim)
    with database.session() as session:
        again = leases.claim(session, batch_id=claim.batch_id, stage="fit", run_id="again", settings=settings)
    assert again.items == ()
    assert (job(database, job_id).state, revision_of(database, job_id, 2)["state"]) == ("complete", "failed")


def test_a_revision_may_be_cancelled_and_then_made_again(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    (item,) = claim.items
    with database.session() as session:
        working.begin(session, claim, [item.id])
    for _ in range(2):
        with database.session() as session:
            cancel_revision(session, workspace_id="acme", job_id=job_id, revision=2)
    with database.session() as session:
        assert leases.heartbeat(session, claim, settings, in_work=[item.id]) == {item.id}
        assert not working.complete(session, claim, item.id, made(item, "x"))
    view = job(database, job_id)
    assert (view.state, view.revision) == ("complete", 1)
    assert revision_of(database, job_id, 2)["state"] == "cancelled"
    assert edit(database, settings, job_id) == 3
    for number, code in ((3, None), (1, "not_an_edit"), (7, "revision_not_found")):
        if code is None:
            work(database, settings)
        with database.session() as session, pytest.raises(AudiomillError) as caught:
            cancel_revision(session, workspace_id="acme", job_id=job_id, revision=number)
        assert caught.value.code == (code or "revision_finished")
    with database.session() as session, pytest.raises(NotFound):
        cancel_revision(session, workspace_id="rival", job_id=job_id, revision=3)


def test_a_run_that_dies_gives_a_revisions_items_back(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    with database.session() as session:
        working.begin(session, claim, [claim.items[0].id])
    with database.session() as session:
        recovery.run_failed(session, run_id=claim.run_id, reason="died", settings=settings, fate=Fate(died=True))
    assert states(database, job_id, 2)["spoken"] == ("queued", 2)
    assert job(database, job_id).state == "complete"
    assert work(database, settings) == ["spoken", "cut"]


def test_of_two_edits_at_once_one_is_made(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    barrier = Barrier(2)

    def one(name: str) -> str:
        barrier.wait()
        try:
            return str(edit(database, settings, job_id, name=name))
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(one, ("one", "other"))) == ["2", "revision_open"]
    assert len(states(database, job_id, 2)) == len(STEPS)


def test_an_edit_of_a_revision_that_is_no_longer_current_is_refused(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    work(database, settings)
    with pytest.raises(Conflict) as caught:
        edit(database, settings, job_id, base=1)
    assert caught.value.code == "revision_changed"


def test_what_is_not_complete_or_not_there_cannot_be_edited(database: Database, settings: Settings) -> None:
    for how in ("queued", "cancelled", "failed"):
        job_id = ordered(database, settings)
        if how == "cancelled":
            with database.session() as session:
                cancel_job(session, workspace_id="acme", job_id=job_id)
        if how == "failed":
            work(database, settings, failing="lines")
        with pytest.raises(Conflict) as caught:
            edit(database, settings, job_id)
        assert caught.value.code == "job_not_complete"
    done = complete(database, settings)
    for job_id, workspace_id in ((done, "rival"), ("job_gone", "acme")):
        with pytest.raises(NotFound):
            edit(database, settings, job_id, workspace_id=workspace_id)


def test_a_full_workspace_makes_no_revision(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    limits = settings.limits.model_copy(update={"workspace_bytes": 1})
    with pytest.raises(QuotaExceeded):
        edit(database, settings.model_copy(update={"limits": limits}), job_id)
    assert states(database, job_id, 2) == {}


def test_a_job_that_is_deleted_meanwhile_takes_its_revision_with_it(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    (item,) = claim.items
    with database.session() as session:
        working.begin(session, claim, [item.id])
    with database.session() as session:
        session.execute(text("DELETE FROM jobs"))
    with database.session() as session:
        assert not working.complete(session, claim, item.id, made(item, "x"))
        assert session.scalars(select(Revision)).all() == []
        assert session.scalars(select(Output)).all() == []
    with pytest.raises(NotFound):
        edit(database, settings, job_id)


def test_events_of_the_job_end_where_they_ended(database: Database, settings: Settings) -> None:
    """Its customer was told that it is complete; a revision is told where the job is shown."""
    job_id = complete(database, settings)
    with database.session() as session:
        before = session.scalar(select(Job.event_seq).where(Job.id == job_id))
    edit(database, settings, job_id)
    work(database, settings)
    with database.session() as session:
        assert session.scalar(select(Job.event_seq).where(Job.id == job_id)) == before
        events = session.scalars(select(JobEvent.state).where(JobEvent.job_id == job_id)).all()
    assert events.count("complete") == 1


def test_progress_of_a_revision_is_of_what_it_makes(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    before = revision_of(database, job_id, 2)["progress"]
    finish(database, claim, claim.items[0], made(claim.items[0], "x"))
    after = revision_of(database, job_id, 2)["progress"]
    assert 0 <= before < after < 1
    assert job(database, job_id).progress == 1.0


def test_results_of_old_revisions_are_kept_with_their_job(database: Database, settings: Settings) -> None:
    """The sweep of results looks whether any item refers to them, of whatever revision."""
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    work(database, settings)
    with database.session() as session:
        session.execute(update(Artifact).values(used_at=Artifact.used_at - timedelta(days=9999)))
        unreferred = session.scalars(
            select(Artifact.key).where(~select(WorkItem).where(WorkItem.artifact_key == Artifact.key).exists())
        ).all()
    assert unreferred == []


def test_what_a_batch_made_is_of_its_revision(database: Database, settings: Settings) -> None:
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    work(database, settings)
    with database.session() as session:
        delivering = session.scalars(select(WorkItem).where(WorkItem.job_id == job_id, WorkItem.batch_id.is_not(None)))
        batches = {(item.step, item.revision): item.batch_id for item in delivering}
        made_by = {
            key: [(output.name, output.version) for row in batch_manifest(session, batch_id) for output in row.outputs]
            for key, batch_id in batches.items()
            if key[0] in {"a", "cut"}
        }
    assert made_by == {("a", 1): [("a.txt", 1)], ("cut", 1): [("cut.txt", 1)], ("cut", 2): [("cut.txt", 2)]}


def test_no_speed_is_learned_of_an_edit(database: Database, settings: Settings) -> None:
    """Most of what it makes was there: who edits would seem to have an engine that is many times as fast."""
    job_id = complete(database, settings)
    with database.session() as session:
        before = session.execute(text("SELECT * FROM workspace_speeds")).all()
    assert before
    edit(database, settings, job_id)
    work(database, settings)
    with database.session() as session:
        assert session.execute(text("SELECT * FROM workspace_speeds")).all() == before


@pytest.mark.parametrize(("code", "reason"), [("engine_crashed", recovery.ENGINE_CRASHED), ("given_up", GIVEN_UP)])
def test_who_edited_is_not_told_to_order_again(database: Database, settings: Settings, code: str, reason: str) -> None:
    """Nor to convert a film of which a line broke the engine."""
    job_id = complete(database, settings)
    edit(database, settings, job_id)
    (claim,) = runs(database, settings)
    with database.session() as session:
        working.begin(session, claim, [claim.items[0].id])
        assert advance.fail(session, claim.items[0].id, code=code, reason=reason)
    failed = revision_of(database, job_id, 2)
    assert failed["failure_code"] == code
    assert is_sentence(failed["failure_reason"])
    assert "edit" in failed["failure_reason"]
    assert not re.search("[Oo]rder|format", failed["failure_reason"])
