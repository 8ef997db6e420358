"""What keeps a lease: advance. A run that hangs gives its batch back and ends; one that waits, or was stopped, does not
hang."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.engines.registry import core_budget
from audiomill.errors import BadInput, LeaseLost
from audiomill.jobs.batches import leases, working
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.batches.leases import Claim
from audiomill.jobs.cancellation import cancel_job
from audiomill.milling.writer import BatchWriter
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, result, wipe


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """An installation in which everything that takes seconds takes moments."""
    lease = {
        "heartbeat_seconds": 0.05,
        "ttl_seconds": 30,
        "stall_seconds": 0.6,
        "stall_factor": 1,
        "load_seconds": 60,
        "grace_seconds": 0.3,
    }
    return settings.model_copy(update={"lease": settings.lease.model_copy(update=lease)})


@pytest.fixture
def claim(database: Database, quick: Settings) -> Claim:
    wipe(database)
    prepare(database, "acme")
    order(database, quick, "acme", audio(2))
    with database.session() as session:
        (batch_id,) = form_batches(session, quick)
        return leases.claim(session, batch_id=batch_id, stage="transcribe", run_id="run", settings=quick)


def wait_for(reached: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.02)
    return reached()


@contextmanager
def recording(database: Database, claim: Claim, settings: Settings) -> Iterator[tuple[BatchWriter, threading.Event]]:
    ended = threading.Event()
    with BatchWriter(database, claim, settings, end=ended.set) as writer:
        yield writer, ended


def items(database: Database) -> list[tuple[str, int, int]]:
    with database.session() as session:
        rows = session.execute(text("SELECT state, interruptions, crashes FROM work_items ORDER BY id"))
        return [(row.state, row.interruptions, row.crashes) for row in rows]


def lease(database: Database) -> object:
    with database.session() as session:
        return session.execute(text("SELECT lease_expires_at FROM batches")).scalar_one()


def lost(writer: BatchWriter) -> bool:
    try:
        writer.check()
    except LeaseLost:
        return True
    return False


@pytest.mark.parametrize(("inside", "crashes"), [(True, 1), (False, 0)])
def test_a_run_that_hangs_gives_its_batch_back_and_ends(
    database: Database, quick: Settings, claim: Claim, inside: bool, crashes: int
) -> None:
    first, second = sorted(item.id for item in claim.items)
    with recording(database, claim, quick) as (writer, ended):
        writer.begin([first, second])
        writer.advanced(0.1)
        if inside:
            writer.inside([first])
        assert wait_for(lambda: lost(writer))
        assert items(database) == [("queued", 0, crashes), ("queued", 0, 0)]
        # Whatever hangs here, the process ends with it; and what it noted is no proof any more.
        assert ended.wait(20)
        assert list((quick.data_dir / "run" / "calls").iterdir()) == []


@pytest.mark.parametrize(("well", "interruptions"), [(lambda: True, 1), (lambda: False, 0), (lambda: time.sleep(9), 0)])
def test_a_hang_outside_of_calls_is_counted_where_store_and_disk_are_well(
    database: Database, quick: Settings, claim: Claim, well: Callable[[], bool], interruptions: int
) -> None:
    """Else our own code could hang on one input for ever; and a store that hangs must not be anybody's fault."""
    first, second = sorted(item.id for item in claim.items)
    with BatchWriter(database, claim, quick, end=lambda: None, well=well) as writer:
        writer.begin([first])
        writer.advanced(0.1)
        assert wait_for(lambda: lost(writer))
    assert items(database) == [("queued", interruptions, 0), ("queued", 0, 0)]
    assert second


def test_a_run_that_stops_in_time_is_not_ended(database: Database, quick: Settings, claim: Claim) -> None:
    with recording(database, claim, quick) as (writer, ended):
        writer.give_back("The run was stopped.")
        assert lost(writer)
    assert not ended.wait(3 * quick.lease.grace_seconds)
    assert items(database) == [("queued", 0, 0)] * 2


def test_progress_and_long_sound_are_no_hang(database: Database, quick: Settings, claim: Claim) -> None:
    with recording(database, claim, quick) as (writer, _):
        writer.begin([claim.items[0].id])
        writer.advanced(0.0)
        for step in range(30):
            writer.progress(claim.items[0].id, (step + 1) / 40)
            time.sleep(0.05)
        assert not lost(writer)
        writer.advanced(60.0)
        time.sleep(3 * quick.lease.stall_seconds)
        assert not lost(writer)


def test_waiting_for_cores_is_no_hang(database: Database, quick: Settings, claim: Claim) -> None:
    budget = core_budget(quick)
    with recording(database, claim, quick) as (writer, _):
        writer.begin([claim.items[0].id])
        writer.advanced(0.0)
        # Another process computes: it holds the gate.
        budget.directory.mkdir(parents=True, exist_ok=True)
        gate = os.open(budget.directory / "gate", os.O_RDWR | os.O_CREAT)
        fcntl.flock(gate, fcntl.LOCK_EX)
        taken = threading.Event()

        def take() -> None:
            with budget.take(1):
                taken.set()

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        time.sleep(4 * quick.lease.stall_seconds)
        assert not lost(writer)
        os.close(gate)
        assert taken.wait(20)
        taker.join()
        # And it hangs when it no longer waits, and nothing advances.
        assert wait_for(lambda: lost(writer))
    assert not list(budget.directory.glob("waits-*"))


def test_time_in_which_the_process_was_stopped_does_not_count(
    database: Database, quick: Settings, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, slept = time.monotonic, [0.0]
    monkeypatch.setattr("audiomill.milling.writer.time.monotonic", lambda: real() + slept[0])
    with recording(database, claim, quick) as (writer, _):
        writer.begin([claim.items[0].id])
        writer.advanced(0.0)
        for slept[0] in (0.0, 3600.0, 3600.0):
            # As often as this its heart has beaten since.
            before = lease(database)
            assert wait_for(lambda before=before: lease(database) != before)
        assert not lost(writer)


def test_a_cancelled_job_is_known_to_the_run(database: Database, quick: Settings, claim: Claim) -> None:
    with recording(database, claim, quick) as (writer, _):
        writer.begin([item.id for item in claim.items])
        writer.advanced(60.0)
        with database.session() as session:
            cancel_job(session, workspace_id="acme", job_id=claim.items[1].job_id)
        assert wait_for(lambda: writer.unwanted == {claim.items[1].id})


def test_giving_back_does_not_wait_for_a_database_that_is_away(quick: Settings, claim: Claim) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    ended = threading.Event()
    # A lease that lives for an hour: what waits as long as that is never done here.
    patient = quick.model_copy(update={"lease": quick.lease.model_copy(update={"ttl_seconds": 3600})})
    with BatchWriter(away, claim, patient, end=ended.set) as writer:
        writer.inside([claim.items[0].id])
        writer.give_back("The run was stopped.")
        # Nobody is blamed for it later: the note went although the database did not hear of it.
        assert list((quick.data_dir / "run" / "calls").iterdir()) == []
    away.dispose()


@pytest.mark.parametrize("method", ["begin", "complete", "fail_item", "hand_back"])
def test_a_write_that_the_database_broke_off_is_sent_again(
    database: Database, quick: Settings, claim: Claim, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    tries: list[str] = []
    real = getattr(working, method)

    def breaks(session: Session, *given: object, **named: object) -> object:
        done = real(session, *given, **named)
        tries.append(method)
        if len(tries) < 3:
            # After the write: what it did goes with the transaction.
            session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"))
        return done

    monkeypatch.setattr(working, method, breaks)
    item = claim.items[0]
    ends = {
        "complete": lambda writer: writer.complete(item.id, item.job_id, result(item, claim)),
        "fail_item": lambda writer: writer.fail(item.id, item.job_id, BadInput("No.")),
        "hand_back": lambda writer: writer.hand_back(item.id, item.job_id, RuntimeError("ours")),
        "begin": lambda _: None,
    }
    with recording(database, claim, quick) as (writer, _):
        assert writer.begin([item.id]) == {item.id: 1}
        writer.advanced(60.0)
        ends[method](writer)
    assert tries == [method] * 3
    after = {"complete": "complete", "fail_item": "failed", "hand_back": "queued", "begin": "running"}
    with database.session() as session:
        state = session.scalar(text("SELECT state FROM work_items WHERE id = :id"), {"id": item.id})
    assert state == after[method]


def test_one_that_holds_a_core_and_does_not_advance_hangs_though_another_of_its_calls_waits(
    database: Database, quick: Settings, claim: Claim
) -> None:
    """Else two runs, each with a call that hangs and one that waits, would keep all cores for ever."""
    budget = core_budget(quick)
    taken, ended = threading.Event(), threading.Event()

    def hang() -> None:
        with budget.take(budget.cores):
            taken.set()
            ended.wait(20)

    def wait() -> None:
        taken.wait(20)
        with budget.take(1):
            pass

    threads = [threading.Thread(target=call) for call in (hang, wait)]
    with recording(database, claim, quick) as (writer, _):
        writer.begin([claim.items[0].id])
        writer.advanced(0.0)
        for thread in threads:
            thread.start()
        try:
            assert wait_for(lambda: lost(writer))
        finally:
            ended.set()
            for thread in threads:
                thread.join()
