"""The object store goes away while a batch is worked on."""

import errno
import functools
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from audiomill.audio.spool import IN_MEMORY_BYTES, Spool
from audiomill.database.connection import Database
from audiomill.errors import OperatorError, StorageUnavailable
from audiomill.jobs.batches import recovery
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.queries import get_batch, get_job
from audiomill.settings import Settings, get_settings
from audiomill.stages.transcribe.work import Transcribing
from audiomill.storage.local import LocalStore
from tests.fakes.orders import rested
from tests.pipeline.conftest import Materialise, Order, states


def away(*_: object, **__: object) -> str:
    raise StorageUnavailable("The object store does not answer.")


def test_while_the_store_is_away_items_wait_uncounted(
    database: Database, settings: Settings, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as outage:
        outage.setattr(LocalStore, "fetch", away)
        outage.setattr(LocalStore, "ready", away)
        for _ in range(settings.lease.max_attempts + 2):
            result = materialise(batch_id)
            assert not result.success
            assert states(database, jobs) == ["queued", "queued"]
            with database.session() as session:
                assert recovery.owned_by(session, result.run_id) is None
                assert get_batch(session, batch_id).state == "cancelled"
            rested(database)
            with database.session() as session:
                (batch_id,) = form_batches(session, settings)
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "complete"]
    assert counters(database) == [(0, 0), (0, 0)]


def test_one_object_that_the_store_does_not_give_waits_alone(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with database.session() as session:
        bad = get_job(session, None, jobs[0])
        key = session.execute(text("SELECT object_key FROM recordings ORDER BY id")).scalars().first()
    fetch = LocalStore.fetch
    with monkeypatch.context() as outage:
        outage.setattr(
            LocalStore, "fetch", lambda self, name, *a, **b: away() if name == key else fetch(self, name, *a, **b)
        )
        assert materialise(batch_id).success
    assert states(database, jobs) == ["queued", "complete"]
    assert counters(database) == [(1, 0), (0, 0)]
    assert bad.failure_code is None
    rested(database)
    with database.session() as session:
        (batch_id,) = form_batches(session, order.settings)
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "complete"]


@pytest.mark.parametrize("code", ["decoder_broke", "decoder_ended"])
def test_one_file_on_which_decoding_breaks_waits_alone(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """The oldest of its lane: if it took its batch with it each time, the lane would never get past it."""
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    prepare = Transcribing.open

    def broken(self: Transcribing, item: ClaimedItem, attempt: int, folder: Path) -> object:
        if item.job_id == jobs[0]:
            raise OperatorError("A decoding process broke.", code=code)
        return prepare(self, item, attempt, folder)

    monkeypatch.setattr(Transcribing, "open", broken)
    assert materialise(batch_id).success
    assert states(database, jobs) == ["queued", "complete"]
    assert sorted(counters(database)) == [(0, 0), (1, 0)]


@pytest.mark.parametrize("step", ["open", "finish"])
def test_a_full_disk_is_nobodys_fault(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as disk:
        disk.setattr(Transcribing, step, full)
        assert not materialise(batch_id).success
    assert states(database, jobs) == ["queued", "queued"]
    # There is room all the while: who met it is noted, for it may be the one that asks for too much.
    assert sorted(counters(database)) == [(0, 0), (1, 0)]
    with database.session() as session:
        assert "No space left" in (get_batch(session, batch_id).note or "")


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["open", "finish"])
def test_a_disk_that_stays_full_is_counted_against_nobody(
    database: Database,
    settings: Settings,
    order: Order,
    materialise: Materialise,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as disk:
        disk.setattr(Transcribing, step, no_room)
        disk.setattr("audiomill.scratch.os.posix_fallocate", no_room)
        for _ in range(recovery.LONE_AFTER + 2):
            assert not materialise(batch_id).success
            assert states(database, jobs) == ["queued", "queued"]
            assert counters(database) == [(0, 0), (0, 0)]
            rested(database)
            with database.session() as session:
                (batch_id,) = form_batches(session, settings)
    assert materialise(batch_id).success


def test_a_store_on_a_full_disk_hands_nothing_back_one_by_one(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still takes the five bytes by which it was probed once: each item was computed, refused and handed back."""
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as disk:
        disk.setattr("audiomill.storage.local_files.os.fsync", no_room)
        disk.setattr("audiomill.scratch.os.posix_fallocate", no_room)
        assert not materialise(batch_id).success
    assert states(database, jobs) == ["queued", "queued"]
    assert counters(database) == [(0, 0), (0, 0)]
    with database.session() as session:
        assert session.scalars(text("SELECT hand_backs FROM work_items")).all() == [0, 0]


def test_what_one_input_makes_of_our_code_ends_its_job_and_holds_nobody_up(
    database: Database, settings: Settings, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OSError each time, on a machine that is well."""
    monkeypatch.setattr(get_settings().lease, "max_hand_backs", 2)  # the runs' own
    batch_id, jobs = order.batch("say:hello there", "say:good bye", "say:well")
    prepare, times = Transcribing.open, 0

    def broken(self: Transcribing, item: ClaimedItem, attempt: int, folder: Path) -> object:
        nonlocal times
        if item.job_id == jobs[0]:
            times += 1
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        return prepare(self, item, attempt, folder)

    monkeypatch.setattr(Transcribing, "open", broken)
    for _ in range(20):
        materialise(batch_id)
        if states(database, jobs)[0] == "failed":
            break
        rested(database)
        with database.session() as session:
            (batch_id,) = form_batches(session, settings)
    assert states(database, jobs) == ["failed", "complete", "complete"]
    assert times == recovery.LONE_AFTER + 2 + 1
    with database.session() as session:
        job = get_job(session, None, jobs[0])
    assert job.failure_code == "given_up"
    assert "fault of ours" in (job.failure_reason or "")
    assert "onvert" not in (job.failure_reason or "")


@pytest.mark.parametrize("step", ["open", "finish"])
def test_a_scratch_disk_that_is_full_is_not_about_one_item(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The store answers all the while. Each item would be handed back, and at last given up, on this machine."""

    def full(*_: object, **__: object) -> None:
        with Spool() as spool:
            for _block in range(IN_MEMORY_BYTES // (4 << 20) + 1):
                spool.write(np.zeros((1 << 20, 1), dtype=np.float32))

    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as disk:
        disk.setattr("audiomill.audio.spool.nameless_file", functools.partial(Path("/dev/full").open, "wb"))
        disk.setattr(Transcribing, step, full)
        assert not materialise(batch_id).success
    assert states(database, jobs) == ["queued", "queued"]
    assert sorted(counters(database)) == [(0, 0), (1, 0)]
    with database.session() as session:
        assert session.scalars(text("SELECT hand_backs FROM work_items")).all() == [0, 0]
        assert "No space left" in (get_batch(session, batch_id).note or "")
        assert form_batches(session, order.settings) == []  # the lane rests


def counters(database: Database) -> list[tuple[int, int]]:
    """Interruptions and crashes of all items."""
    with database.session() as session:
        rows = session.execute(text("SELECT interruptions, crashes FROM work_items ORDER BY created_at, id"))
        return [(row.interruptions, row.crashes) for row in rows]
