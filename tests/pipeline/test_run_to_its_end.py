"""A run from its claim to its close: what holds until the last write, and where its files lie meanwhile."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.jobs.batches import leases
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.workers import this_worker
from audiomill.scratch import scratch_root
from audiomill.settings import Settings, get_settings
from audiomill.stages.transcribe.work import Transcribing
from audiomill.storage.local import LocalStore
from tests.pipeline.conftest import Materialise, Order, states

BROKEN_OFF = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"


def lease_of_the_batch(database: Database) -> object:
    with database.session() as session:
        return session.execute(text("SELECT lease_expires_at FROM batches")).scalar_one()


def is_kept(database: Database) -> bool:
    """Whether the heartbeat renews the lease while nothing else is done."""
    before, end = lease_of_the_batch(database), time.monotonic() + 15
    while time.monotonic() < end:
        if lease_of_the_batch(database) != before:
            return True
        time.sleep(0.02)
    return False


def test_the_lease_is_kept_while_the_end_of_a_run_is_written(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of jobs, or a slow store, take longer than a lease lives."""
    batch_id, jobs = order.batch("say:hello there")
    kept: dict[str, bool] = {}
    put, close = LocalStore.put_bytes, leases.close

    def slowly(store: LocalStore, key: str, *given: object, **named: object) -> object:
        if key.startswith("batches/"):
            kept[key.rsplit("/", 1)[1]] = is_kept(database)
        return put(store, key, *given, **named)

    def closing(session: Session, *given: object) -> object:
        kept["closing"] = is_kept(database)
        return close(session, *given)

    monkeypatch.setattr(get_settings().lease, "heartbeat_seconds", 0.05)
    monkeypatch.setattr(LocalStore, "put_bytes", slowly)
    monkeypatch.setattr(leases, "close", closing)
    assert materialise(batch_id).success
    assert kept == {"waveforms.png": True, "manifest.json": True, "closing": True}
    assert states(database, jobs) == ["complete"]


@pytest.mark.parametrize("step", ["claim", "held", "close"])
def test_what_the_database_breaks_off_is_sent_again_from_claim_to_close(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    batch_id, jobs = order.batch("say:hello there")
    tries: list[str] = []
    real: Callable[..., object] = getattr(leases, step)

    def breaks(session: Session, *given: object, **named: object) -> object:
        done = real(session, *given, **named)
        tries.append(step)
        if len(tries) == 1:
            session.execute(text(BROKEN_OFF))
        return done

    monkeypatch.setattr(leases, step, breaks)
    assert materialise(batch_id).success
    assert len(tries) > 1
    assert states(database, jobs) == ["complete"]


def test_who_works_is_known_while_it_works(database: Database, order: Order, materialise: Materialise) -> None:
    """Or nobody could end the process of a run that falls silent."""
    batch_id, _ = order.batch("say:hello there")
    assert materialise(batch_id).success
    with database.session() as session:
        assert session.scalars(text("SELECT worker FROM batches")).all() == [str(this_worker())]


def left_by_a_killed_run(settings: Settings) -> Path:
    left = scratch_root(settings.data_dir) / "killed-1"
    left.mkdir(parents=True)
    (left / "input").write_bytes(b"a customer's sound")
    return left


def test_sound_lies_in_the_runs_scratch_and_what_others_left_is_swept(
    settings: Settings, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_by_a_killed_run(settings)
    batch_id, _ = order.batch("say:hello there")
    seen: list[tuple[Path, bool]] = []
    prepare = Transcribing.open

    def look(self: Transcribing, item: ClaimedItem, attempt: int, folder: Path) -> object:
        seen.append((folder, left.exists()))
        return prepare(self, item, attempt, folder)

    monkeypatch.setattr(Transcribing, "open", look)
    result = materialise(batch_id)
    assert result.success
    ((folder, was_there),) = seen
    assert folder.relative_to(scratch_root(settings.data_dir)).parts[0].startswith(result.run_id)
    assert not was_there
    assert list(scratch_root(settings.data_dir).iterdir()) == []
