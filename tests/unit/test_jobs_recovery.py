"""Recovery: broken, cancelled, silent and hung runs, and runs that never came. Blame only with proof."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from audiomill.database.connection import Database
from audiomill.database.tables import Batch, Job, WorkItem
from audiomill.errors import BadInput, LeaseLost, LeaseRefused
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.forming import form_batches, mark_requested, startable
from audiomill.jobs.batches.leases import Claim, Origin
from audiomill.jobs.batches.workers import Fate
from audiomill.jobs.handed_back import troubles
from audiomill.jobs.queries import get_batch
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, rested, result, wipe

NOTHING_PROVEN = Fate()


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


def form(database: Database, settings: Settings) -> str:
    """The one batch that can be formed now, the lane's rest being over."""
    one_slot = settings.model_copy(
        update={
            "cpu": settings.cpu.model_copy(update={"cpu_runs": 1}),
            "batching": settings.batching.model_copy(update={"max_wait_seconds": 0}),
        }
    )
    rested(database)
    with database.session() as session:
        (batch_id,) = form_batches(session, one_slot)
        mark_requested(session, [batch_id])
    return batch_id


def batch_of(database: Database, settings: Settings, count: int) -> str:
    order(database, settings, "acme", audio(count))
    return form(database, settings)


def claimed(database: Database, settings: Settings, batch_id: str, run: str = "run-1", **given: Origin) -> Claim:
    with database.session() as session:
        return leases.claim(session, batch_id=batch_id, stage="transcribe", run_id=run, settings=settings, **given)


def begin(database: Database, claim: Claim, *indices: int) -> list[str]:
    ids = [claim.items[index].id for index in indices]
    with database.session() as session:
        working.begin(session, claim, ids)
    return ids


def finish(database: Database, claim: Claim, index: int) -> None:
    begin(database, claim, index)
    with database.session() as session:
        assert working.complete(session, claim, claim.items[index].id, result(claim.items[index], claim))


def broke(database: Database, settings: Settings, claim: Claim, fate: Fate = NOTHING_PROVEN) -> str | None:
    with database.session() as session:
        return recovery.run_failed(session, run_id=claim.run_id, reason="It broke.", settings=settings, fate=fate)


def lapse(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE batches SET lease_expires_at = clock_timestamp() - interval '1 second'"))


def states(database: Database, table: type[Job] | type[WorkItem] = WorkItem) -> Counter[str]:
    with database.session() as session:
        return Counter(session.scalars(select(table.state)))


def counters(database: Database) -> dict[str, tuple[int, int]]:
    """Interruptions and crashes by item."""
    with database.session() as session:
        rows = session.execute(select(WorkItem.id, WorkItem.interruptions, WorkItem.crashes))
        return {row.id: (row.interruptions, row.crashes) for row in rows}


def rest_seconds(database: Database) -> float:
    with database.session() as session:
        return float(
            session.scalar(text("SELECT round(extract(epoch FROM max(until) - clock_timestamp())) FROM lane_pauses"))
            or 0
        )


def test_a_broken_run_leaves_complete_items_and_the_rest_goes_back(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 3)
    claim = claimed(database, settings, batch_id)
    finish(database, claim, 0)
    begin(database, claim, 1)
    assert broke(database, settings, claim) == batch_id
    assert broke(database, settings, claim) is None
    assert states(database) == states(database, Job) == {"complete": 1, "queued": 2}
    assert set(counters(database).values()) == {(0, 0)}
    with pytest.raises(LeaseLost):
        begin(database, claim, 1)
    with pytest.raises(LeaseRefused) as refused:
        claimed(database, settings, batch_id, "run-2")
    assert refused.value.code == "cancelled_batch"
    again = claimed(database, settings, form(database, settings), "run-2")
    assert {item.id for item in again.items} == {item.id for item in claim.items[1:]}


def test_a_broken_run_of_which_nothing_was_open_is_closed(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    finish(database, claim, 0)
    broke(database, settings, claim)
    with database.session() as session:
        assert get_batch(session, claim.batch_id).state == "closed"


def test_a_run_that_broke_before_it_claimed_is_found_by_what_it_was_asked_for(
    database: Database, settings: Settings
) -> None:
    batch_id = batch_of(database, settings, 1)
    for expected in (batch_id, None):
        with database.session() as session:
            found = recovery.run_failed(
                session, run_id="r", reason="No.", settings=settings, fate=NOTHING_PROVEN, asked_for=batch_id
            )
        assert found == expected
    assert states(database) == {"queued": 1}


def test_only_an_input_that_crashes_again_and_again_alone_in_an_engine_call_fails(
    database: Database, settings: Settings
) -> None:
    batch_id = batch_of(database, settings, 5)
    with database.session() as session:
        poison = session.scalars(select(WorkItem.id).order_by(WorkItem.id)).all()[2]
    for run in range(settings.lease.max_attempts + 1):
        claim = claimed(database, settings, batch_id, f"run-{run}")
        begin(database, claim, *range(len(claim.items)))
        assert states(database, Job)["failed"] == 0
        broke(database, settings, claim, Fate(died=True, inside=frozenset({poison})))
        if run < settings.lease.max_attempts:
            batch_id = form(database, settings)
    assert states(database, Job) == {"queued": 4, "failed": 1}
    with database.session() as session:
        failed = session.scalars(select(WorkItem).where(WorkItem.state == "failed")).one()
        assert session.scalars(select(Job.failure_code).where(Job.state == "failed")).all() == ["engine_crashed"]
    assert (failed.id, failed.crashes) == (poison, settings.lease.max_attempts + 1)
    assert {count for item, count in counters(database).items() if item != poison} == {
        (settings.lease.max_attempts + 1, 0)
    }


def test_nothing_else_ever_fails_a_customers_job(database: Database, settings: Settings) -> None:
    """Stops, deploys, outages, silence, runs that never come, cancelled runs, eight of each."""
    for round_ in range(8):
        claim = claimed(database, settings, batch_of(database, settings, 1), f"failed-{round_}")
        begin(database, claim, *range(len(claim.items)))
        broke(database, settings, claim)
        claim = claimed(database, settings, form(database, settings), f"stopped-{round_}")
        begin(database, claim, *range(len(claim.items)))
        with database.session() as session:
            recovery.give_back(session, claim, "The run was stopped.", settings)
        claim = claimed(database, settings, form(database, settings), f"cancelled-{round_}")
        begin(database, claim, *range(len(claim.items)))
        with database.session() as session:
            recovery.run_cancelled(session, run_id=claim.run_id)
        claim = claimed(database, settings, form(database, settings), f"silent-{round_}")
        begin(database, claim, *range(len(claim.items)))
        lapse(database)
        with database.session() as session:
            (owned,) = recovery.lapsed(session)
            recovery.expire(session, owned, Fate(died=True), settings)
        batch_id = form(database, settings)
        with database.session() as session:
            assert recovery.never_came(session, batch_id, settings)
            assert not recovery.never_came(session, batch_id, settings)
    assert states(database) == states(database, Job) == {"queued": 8}
    assert {crashes for _, crashes in counters(database).values()} == {0}


@pytest.mark.parametrize("how", ["died", "lost", "hung"])
def test_an_item_under_which_each_run_ends_is_given_up_as_our_fault(
    database: Database, settings: Settings, how: str
) -> None:
    """Outside of engine calls: in our own code, say. Nobody is blamed; but it must end, and hold nobody up."""
    few = settings.model_copy(update={"lease": settings.lease.model_copy(update={"max_hand_backs": 2})})
    batch_id = batch_of(database, settings, 1)
    runs = 0
    while states(database, Job)["queued"]:
        with database.session() as session:
            worker = "elsewhere/1 2 3.0" if how == "lost" else None
            claim = leases.claim(
                session, batch_id=batch_id, stage="transcribe", run_id=f"r{runs}", settings=settings, worker=worker
            )
        (item_id,) = begin(database, claim, 0)
        if how == "hung":
            with database.session() as session:
                recovery.give_back(session, claim, "It hung.", few, suspects=[item_id])
        else:
            with capture_logs() as logged:
                broke(database, few, claim, Fate(died=how == "died"))
            # Operators are told, once.
            told = [each["job"] for each in logged if each["log_level"] == "error"]
            assert told == ([claim.items[0].job_id] if states(database, Job)["failed"] else [])
        runs += 1
        if runs <= recovery.LONE_AFTER:
            assert rest_seconds(database) > 0
            assert counters(database) == {item_id: (runs, 0)}
        if states(database, Job)["queued"]:
            batch_id = form(database, settings)
        assert runs < 20
    assert runs == recovery.LONE_AFTER + few.lease.max_hand_backs + 1
    with database.session() as session:
        job = session.scalars(select(Job)).one()
    assert job.failure_code == "given_up"
    assert "fault of ours" in str(job.failure_reason)
    assert "onvert" not in str(job.failure_reason)
    assert counters(database)[item_id][1] == 0


def test_an_item_that_ends_runs_alone_rests_by_itself_and_not_its_lane(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    (item_id,) = begin(database, claim, 0)
    with database.session() as session:
        session.execute(text("UPDATE work_items SET interruptions = 3"))
    broke(database, settings, claim, Fate(died=True))
    assert rest_seconds(database) == 0
    with database.session() as session:
        assert [(each.job_id, each.times) for each in troubles(session, limit=9)] == [(claim.items[0].job_id, 1)]
    order(database, settings, "acme", audio(1))
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
    assert item_id not in {item.id for item in claimed(database, settings, batch_id, "run-2").items}


def test_beside_others_no_run_that_ends_is_counted_as_a_hand_back(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    begin(database, claim, 0, 1)
    with database.session() as session:
        session.execute(text("UPDATE work_items SET interruptions = 3"))
    broke(database, settings, claim, Fate(died=True))
    assert rest_seconds(database) > 0
    with database.session() as session:
        assert troubles(session, limit=9) == []


def test_an_item_at_which_each_run_breaks_is_noted_and_no_other(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 3))
    noted, beside = begin(database, claim, 0, 1)
    for _ in range(2):  # sent again, for its answer was lost
        with database.session() as session:
            recovery.give_back(session, claim, "It broke.", settings, suspects=[noted])
    assert counters(database) == {noted: (1, 0), beside: (0, 0), claim.items[2].id: (0, 0)}


def test_a_hang_inside_an_engine_call_is_proof(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    inside, outside = begin(database, claim, 0, 1)
    for _ in range(2):  # sent again, for its answer was lost
        with database.session() as session:
            recovery.give_back(session, claim, "It hung.", settings, hung=[inside])
    assert counters(database) == {inside: (0, 1), outside: (0, 0)}
    assert states(database) == {"queued": 2}


def test_a_lane_whose_runs_break_rests_longer_each_time_and_not_for_one_event(
    database: Database, settings: Settings
) -> None:
    lease = settings.lease
    rests = []
    batch_id = batch_of(database, settings, 1)
    for run in range(9):
        broke(database, settings, claimed(database, settings, batch_id, f"run-{run}"))
        rests.append(rest_seconds(database))
        with database.session() as session:
            assert form_batches(session, settings) == []
            assert len(recovery.paused_lanes(session)) == 1
        batch_id = form(database, settings)
    assert rests == [min(lease.pause_seconds * 2**run, lease.pause_most_seconds) for run in range(9)]
    # Two batches that break by one event: the second is not counted.
    first = claimed(database, settings, batch_id, "run-a")
    order(database, settings, "acme", audio(1))
    second = claimed(database, settings, form(database, settings), "run-b")
    finish(database, first, 0)
    broke(database, settings, first)
    assert rest_seconds(database) == lease.pause_seconds  # something was done
    broke(database, settings, second)
    assert rest_seconds(database) == lease.pause_seconds


def test_a_lane_that_works_again_does_not_rest(database: Database, settings: Settings) -> None:
    broke(database, settings, claimed(database, settings, batch_of(database, settings, 2)))
    claim = claimed(database, settings, form(database, settings), "run-2")
    with database.session() as session:
        session.execute(text("UPDATE lane_pauses SET until = clock_timestamp() + interval '1 hour'"))
    finish(database, claim, 0)
    with database.session() as session:
        leases.close(session, claim)
        assert recovery.paused_lanes(session) == []
        assert len(form_batches(session, settings)) == 1


def test_another_lane_does_not_rest(database: Database, settings: Settings) -> None:
    broke(database, settings, claimed(database, settings, batch_of(database, settings, 1)))
    order(database, settings, "acme", audio(1, size_bytes=176_400 * 5000))
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
        assert "long" in session.scalars(select(Batch.lane).where(Batch.id == batch_id)).one()


def test_an_item_handed_back_waits_and_does_not_hold_up_the_others(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    begin(database, claim, 0, 1)
    with database.session() as session:
        assert working.hand_back(session, claim, claim.items[0].id, "Ours.", settings) == "waits"
        assert working.hand_back(session, claim, claim.items[0].id, "Ours.", settings) == "had_ended"
    with database.session() as session:
        assert working.complete(session, claim, claim.items[1].id, result(claim.items[1], claim))
        leases.close(session, claim)
    order(database, settings, "acme", audio(1))
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
    other = claimed(database, settings, batch_id, "run-2")
    assert claim.items[0].id not in {item.id for item in other.items}
    later = claimed(database, settings, form(database, settings), "run-3")
    assert [item.id for item in later.items] == [claim.items[0].id]
    assert counters(database)[claim.items[0].id] == (1, 0)


def test_a_silent_run_is_reaped_once_and_fenced_out(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 2))
    with database.session() as session:
        assert recovery.lapsed(session) == []
    lapse(database)
    with database.session() as session:
        (owned,) = recovery.lapsed(session)

    def reap(_: int) -> bool:
        with database.session() as session:
            return recovery.expire(session, owned, NOTHING_PROVEN, settings)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(reap, range(4))) == 1
    with pytest.raises(LeaseLost):
        begin(database, claim, 0)
    assert states(database) == {"queued": 2}


def test_what_another_machine_had_begun_when_it_was_lost_is_counted_and_not_blamed(
    database: Database, settings: Settings
) -> None:
    """What it died of cannot be learned here. Uncounted, an input that ends each run would do so for ever."""
    batch_id = batch_of(database, settings, 2)
    with database.session() as session:
        claim = leases.claim(
            session, batch_id=batch_id, stage="transcribe", run_id="r", settings=settings, worker="elsewhere/1 2 3.0"
        )
    (begun,) = begin(database, claim, 0)
    lapse(database)
    with database.session() as session:
        (owned,) = recovery.lapsed(session)
        assert recovery.expire(session, owned, NOTHING_PROVEN, settings)
    assert counters(database) == {begun: (1, 0), claim.items[1].id: (0, 0)}


def test_a_run_that_spoke_again_before_it_was_reaped_keeps_its_batch(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    lapse(database)
    with database.session() as session:
        (owned,) = recovery.lapsed(session)
        leases.heartbeat(session, claim, settings)
    with database.session() as session:
        assert not recovery.expire(session, owned, NOTHING_PROVEN, settings)
    finish(database, claim, 0)


def test_a_cancelled_runs_open_items_go_back_and_their_lane_does_not_rest(
    database: Database, settings: Settings
) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 3))
    finish(database, claim, 0)
    begin(database, claim, 1)
    with database.session() as session:
        recovery.run_cancelled(session, run_id="run-1")
        assert len(form_batches(session, settings)) == 1
    assert states(database, Job) == {"complete": 1, "queued": 2}


def test_a_batch_broken_run_again_and_broken_again_stops_nobody(database: Database, settings: Settings) -> None:
    """Once its parts were named after it, twice the same, and no lease was ever reaped again."""
    batch_id = batch_of(database, settings, 4)
    for run in range(4):
        claim = claimed(database, settings, batch_id, f"run-{run}")
        if claim.items:
            begin(database, claim, 0)
            with database.session() as session:
                working.fail_item(session, claim, claim.items[0].id, BadInput("no"))
                leases.close(session, claim)
        claim = claimed(database, settings, batch_id, f"again-{run}")
        broke(database, settings, claim, Fate(died=True, inside=frozenset({claim.items[0].id})))
        batch_id = form(database, settings)
    other = claimed(database, settings, batch_id, "other")
    lapse(database)
    with database.session() as session:
        (owned,) = recovery.lapsed(session)
        assert owned.run_id == other.run_id
        assert recovery.expire(session, owned, NOTHING_PROVEN, settings)


def test_a_duplicate_of_the_run_that_was_asked_for_revives_nothing(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 1)
    claim = claimed(database, settings, batch_id, "run-1", origin=Origin(asked_for=True))
    begin(database, claim, 0)
    with database.session() as session:
        working.fail_item(session, claim, claim.items[0].id, BadInput("no"))
        leases.close(session, claim)
        session.execute(text("UPDATE batches SET finished_at = clock_timestamp()"))
        closed_at = get_batch(session, batch_id).finished_at
    assert closed_at is not None
    before = closed_at.replace(year=closed_at.year - 1)
    for origin in (Origin(asked_for=True), Origin(created_at=before)):
        with pytest.raises(LeaseRefused) as refused:
            claimed(database, settings, batch_id, "run-2", origin=origin)
        assert refused.value.code == "duplicate_run"
    assert states(database, Job) == {"failed": 1}
    after = closed_at.replace(year=closed_at.year + 1)
    assert len(claimed(database, settings, batch_id, "run-3", origin=Origin(created_at=after)).items) == 1


def test_a_run_that_never_came_is_found_however_many_wait_their_turn(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 1)
    with database.session() as session:
        assert recovery.unstarted(session, settings) == []
        session.execute(
            text(
                "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds, requested_at)"
                " SELECT 'b' || n, 'l', 'transcribe', 'x', 'cpu', 1, 1, clock_timestamp() - interval '2 hours'"
                " FROM generate_series(1, 60) n"
            )
        )
        session.execute(
            text("UPDATE batches SET requested_at = clock_timestamp() - interval '1 hour' WHERE id = :id"),
            {"id": batch_id},
        )
        found = recovery.unstarted(session, settings)
    assert len(found) == 61
    assert found[-1] == batch_id


def test_closing_twice_is_closing_once(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    finish(database, claim, 0)
    for _ in range(2):
        with database.session() as session:
            assert leases.close(session, claim).state == "closed"


def test_writers_of_a_batch_do_not_hold_up_its_heartbeat(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 1))
    with database.session() as writer:
        leases.fenced(writer, claim)
        with database.session() as session:
            session.execute(text("SET LOCAL lock_timeout = '500ms'"))
            leases.heartbeat(session, claim, settings)
        # Who takes the batch away waits for the writer.
        lapse(database)
        with database.session() as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                recovery.expire(session, recovery.Owned(claim.batch_id, claim.run_id, None), NOTHING_PROVEN, settings)
            session.rollback()


def test_begins_of_the_same_items_in_two_orders_do_not_wait_in_a_circle(database: Database, settings: Settings) -> None:
    claim = claimed(database, settings, batch_of(database, settings, 60))
    ids = [item.id for item in claim.items]

    def run(number: int) -> int:
        with database.session() as session:
            return len(working.begin(session, claim, ids if number % 2 else ids[::-1]))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(40))) == [60] * 40


def test_a_heartbeat_brings_back_what_is_no_longer_wanted(database: Database, settings: Settings) -> None:
    from audiomill.jobs.cancellation import cancel_job

    claim = claimed(database, settings, batch_of(database, settings, 2))
    ids = begin(database, claim, 0, 1)
    with database.session() as session:
        assert leases.heartbeat(session, claim, settings, in_work=ids) == frozenset()
        cancel_job(session, workspace_id="acme", job_id=claim.items[0].job_id)
    with database.session() as session:
        assert leases.heartbeat(session, claim, settings, in_work=ids) == {ids[0]}
        assert startable(session) == []


def test_what_is_handed_back_for_ever_is_given_up_as_our_fault(database: Database, settings: Settings) -> None:
    few = settings.model_copy(update={"lease": settings.lease.model_copy(update={"max_hand_backs": 4})})
    batch_id = batch_of(database, settings, 1)
    rests, became, seen = [], [], []
    for run in range(5):
        claim = claimed(database, settings, batch_id, f"run-{run}")
        (item_id,) = begin(database, claim, 0)
        with database.session() as session:
            became.append(working.hand_back(session, claim, item_id, f"No. {run}", few))
            leases.close(session, claim)
        with database.session() as session:
            seen += [
                (each.job_id == claim.items[0].job_id, each.times, each.why) for each in troubles(session, limit=9)
            ]
            rest = text("SELECT round(extract(epoch FROM available_at - clock_timestamp())) FROM work_items")
            rests.append(session.scalar(rest))
        if run < 4:
            batch_id = form(database, settings)
    assert became == ["waits"] * 4 + ["given_up"]
    assert seen == [(True, run + 1, f"No. {run}") for run in range(4)]
    assert [float(rest or 0) for rest in rests[:4]] == [settings.lease.pause_seconds * 2**run for run in range(4)]
    with database.session() as session:
        job = session.scalars(select(Job)).one()
    assert (job.state, job.failure_code) == ("failed", "given_up")
    assert "fault of ours" in str(job.failure_reason)
    assert "Nothing is charged" in str(job.failure_reason)


def test_what_an_operator_runs_again_is_given_all_its_tries_again(database: Database, settings: Settings) -> None:
    few = settings.model_copy(update={"lease": settings.lease.model_copy(update={"max_hand_backs": 1})})
    batch_id, became = batch_of(database, settings, 1), []
    for run in ("first", "second", "again"):
        claim = claimed(database, settings, batch_id, run)
        (item_id,) = begin(database, claim, 0)
        with database.session() as session:
            became.append(working.hand_back(session, claim, item_id, "Refused.", few))
            leases.close(session, claim)
        if run == "first":
            rested(database)
            batch_id = form(database, settings)
    assert became == ["waits", "given_up", "waits"]


def test_a_death_of_an_engines_process_is_one_crash_and_no_verdict(database: Database, settings: Settings) -> None:
    batch_id = batch_of(database, settings, 1)
    for run in range(settings.lease.max_attempts + 1):
        assert states(database, Job) == {"queued": 1}
        claim = claimed(database, settings, batch_id, f"run-{run}")
        (item_id,) = begin(database, claim, 0)
        for _ in range(2):  # sent again, for its answer was lost
            with database.session() as session:
                recovery.engine_died(session, claim, item_id, "A process died.", settings)
        assert counters(database) == {item_id: (0, run + 1)}
        with database.session() as session:
            leases.close(session, claim)
        if run < settings.lease.max_attempts:
            batch_id = form(database, settings)
    with database.session() as session:
        assert session.scalars(select(Job.failure_code)).all() == ["engine_crashed"]
