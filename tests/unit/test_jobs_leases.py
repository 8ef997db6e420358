"""Leases: one owner at a time, fenced writes, batches run again. What becomes of broken runs is in
test_jobs_recovery.py."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from audiomill.database.connection import Database
from audiomill.database.tables import Job, Output, Recording, WorkItem
from audiomill.errors import BadInput, Conflict, LeaseLost, LeaseRefused
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.forming import form_batches, mark_requested
from audiomill.jobs.batches.leases import Claim
from audiomill.jobs.batches.retirement import mark_retired, retirable
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.events.replay import events_after
from audiomill.jobs.pages import list_jobs
from audiomill.jobs.queries import get_batch, get_job
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, result, wipe


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


def batch_of(database: Database, settings: Settings, count: int) -> str:
    order(database, settings, "acme", audio(count))
    one_slot = settings.model_copy(update={"cpu": settings.cpu.model_copy(update={"cpu_runs": 1})})
    with database.session() as session:
        (batch_id,) = form_batches(session, one_slot)
        mark_requested(session, [batch_id])
    return batch_id


def claimed(database: Database, settings: Settings, batch_id: str, run: str = "run-1") -> Claim:
    with database.session() as session:
        return leases.claim(session, batch_id=batch_id, stage="transcribe", run_id=run, settings=settings)


def finish(database: Database, claim: Claim, index: int) -> bool:
    with database.session() as session:
        working.begin(session, claim, [claim.items[index].id])
        return working.complete(session, claim, claim.items[index].id, result(claim.items[index], claim))


def lapse(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE batches SET lease_expires_at = clock_timestamp() - interval '1 second'"))


def states(database: Database, table: type[Job] | type[WorkItem] = WorkItem) -> Counter[str]:
    with database.session() as session:
        return Counter(session.scalars(select(table.state)))


def test_a_second_live_run_is_refused_and_told_which_runs(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 2)
    claimed(database, settings, batch_id)
    with pytest.raises(LeaseRefused, match="run-1") as caught:
        claimed(database, settings, batch_id, "run-2")
    assert caught.value.code == "batch_in_use"


def test_of_eight_runs_at_once_one_claims(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 2)

    def attempt(number: int) -> bool:
        try:
            claimed(database, settings, batch_id, f"run-{number}")
        except LeaseRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_unknown_foreign_cancelled_and_retired_batches_are_refused(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 1)
    codes = []
    for wanted, stage in (("no-such-batch", "transcribe"), (batch_id, "synthesize")):
        with database.session() as session, pytest.raises(LeaseRefused) as caught:
            leases.claim(session, batch_id=wanted, stage=stage, run_id="run-1", settings=settings)
        codes.append(caught.value.code)
    claimed(database, settings, batch_id)
    with database.session() as session:
        recovery.run_cancelled(session, run_id="run-1")
    with pytest.raises(LeaseRefused) as caught:
        claimed(database, settings, batch_id)
    codes.append(caught.value.code)
    with database.session() as session:
        mark_retired(session, [batch_id])
    with pytest.raises(LeaseRefused) as caught:
        claimed(database, settings, batch_id)
    codes.append(caught.value.code)
    assert codes == ["unknown_batch", "foreign_batch", "cancelled_batch", "retired_batch"]


def test_a_run_that_lost_its_lease_can_write_nothing(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 2)
    first = claimed(database, settings, batch_id, "run-1")
    lapse(database)
    claimed(database, settings, batch_id, "run-2")
    item = first.items[0].id
    writes = (
        lambda session: working.begin(session, first, [item]),
        lambda session: working.progressed(session, first, item, 0.5),
        lambda session: working.complete(session, first, item, result(first.items[0], first)),
        lambda session: working.fail_item(session, first, item, BadInput("no")),
        lambda session: leases.heartbeat(session, first, settings),
        lambda session: leases.close(session, first),
    )
    for write in writes:
        with pytest.raises(LeaseLost), database.session() as session:
            write(session)
    assert states(database) == {"batched": 2}


def test_an_item_completes_once_with_outputs_and_events(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    assert finish(database, claim, 0)
    with database.session() as session:
        assert working.complete(session, claim, claim.items[0].id, result(claim.items[0], claim))
        job = get_job(session, "acme", claim.items[0].job_id)
        events = events_after(session, workspace_id="acme", job_id=job.id, seq=0)
        assert {output.name: output.sha256 for output in job.outputs}["transcript.txt"] == "1" * 64
    assert [(event.seq, event.state) for event in events] == [(1, "queued"), (2, "running"), (3, "complete")]
    assert (job.state, job.progress, job.batch_id, job.run_id) == ("complete", 1.0, claim.batch_id, "run-1")


def test_a_cancelled_job_is_dropped_and_its_late_result_too(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    with database.session() as session:
        working.begin(session, claim, [claim.items[0].id])
    for item in claim.items:
        with database.session() as session:
            assert cancel_job(session, workspace_id="acme", job_id=item.job_id).state == "cancelled"
            assert cancel_job(session, workspace_id="acme", job_id=item.job_id).state == "cancelled"
    with database.session() as session:
        assert not working.complete(session, claim, claim.items[0].id, result(claim.items[0], claim))
        assert working.begin(session, claim, [claim.items[1].id]) == {}
        assert session.scalars(select(Output)).all() == []


def test_a_finished_job_cannot_be_cancelled(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    finish(database, claim, 0)
    with pytest.raises(Conflict), database.session() as session:
        cancel_job(session, workspace_id="acme", job_id=claim.items[0].job_id)


def test_cancelling_and_completing_at_once_end_in_one_of_them(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 30))
    with database.session() as session:
        working.begin(session, claim, [item.id for item in claim.items])

    def complete(index: int) -> bool:
        with database.session() as session:
            return working.complete(session, claim, claim.items[index].id, result(claim.items[index], claim))

    def cancel(index: int) -> bool:
        try:
            with database.session() as session:
                cancel_job(session, workspace_id="acme", job_id=claim.items[index].job_id)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        pairs = [(pool.submit(complete, index), pool.submit(cancel, index)) for index in range(30)]
        assert all(done.result() != dropped.result() for done, dropped in pairs)
    assert states(database) == states(database, Job)


def test_a_closed_batch_run_again_retries_what_failed_and_only_that(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 3)
    claim = claimed(database, settings, batch_id)
    finish(database, claim, 0)
    with database.session() as session:
        working.begin(session, claim, [item.id for item in claim.items[1:]])
        working.fail_item(session, claim, claim.items[1].id, BadInput("broken", code="damaged_recording"))
        cancel_job(session, workspace_id="acme", job_id=claim.items[2].job_id)
        leases.close(session, claim)
    again = claimed(database, settings, batch_id, "run-2")
    assert [item.id for item in again.items] == [claim.items[1].id]
    assert states(database, Job) == {"complete": 1, "queued": 1, "cancelled": 1}
    finish(database, again, 0)
    with database.session() as session:
        leases.close(session, again)
        assert get_batch(session, batch_id).state == "closed"
        assert len(session.scalars(select(Output)).all()) == 2
    assert claimed(database, settings, batch_id, "run-3").items == ()
    with database.session() as session:
        runs = {job.id: job.run_id for job in list_jobs(session, "acme").jobs}
        assert runs[claim.items[0].job_id] == "run-1"
        assert runs[claim.items[1].job_id] == "run-2"
        of_first = {job.id for job in list_jobs(session, "acme", run_id="run-1").jobs}
        assert of_first == {claim.items[0].job_id, claim.items[2].job_id}


def test_closing_sends_what_is_open_back(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    finish(database, claim, 0)
    with database.session() as session:
        leases.close(session, claim)
    assert states(database) == {"complete": 1, "queued": 1}


def test_old_batches_are_retired_once(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    finish(database, claim, 0)
    with database.session() as session:
        leases.close(session, claim)
        assert retirable(session, settings) == []
        session.execute(text("UPDATE batches SET finished_at = finished_at - interval '31 days'"))
        assert retirable(session, settings) == [(claim.batch_id, "transcribe")]
        mark_retired(session, [claim.batch_id])
        assert retirable(session, settings) == []


def test_a_completion_that_is_sent_again_was_not_cancelled(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    done, cancelled = claim.items
    assert finish(database, claim, 0)
    with database.session() as session:
        assert working.complete(session, claim, done.id, result(done, claim))
        cancel_job(session, workspace_id="acme", job_id=cancelled.job_id)
    assert not finish(database, claim, 1)
    with database.session() as session:
        assert session.scalars(select(Output.job_id)).all() == [done.job_id]


def test_what_is_known_of_a_recordings_length_stays_known(database: Database, settings: Settings) -> None:
    """The same object ordered as a text, too: of that no length is known."""
    claim = claimed(database, settings, batch_of(database, settings, 1))
    (item,) = claim.items
    assert finish(database, claim, 0)
    with database.session() as session:
        session.execute(text("UPDATE work_items SET state = 'running'"))
        session.execute(text("DELETE FROM outputs"))
        assert working.complete(session, claim, item.id, replace(result(item, claim), recording_seconds=None))
        assert session.scalars(select(Recording.duration_seconds)).all() == [1.0]
