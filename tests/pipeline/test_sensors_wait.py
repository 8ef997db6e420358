"""Ticks that wait: what ends them, and that nothing else has to."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from dagster import DagsterInstance, Definitions
from dagster._core.definitions.sensor_definition import SensorExecutionData
from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.inbox.watch import InboxWatch
from audiomill.jobs.batches import waiting
from audiomill.jobs.batches.waiting import APPLICATION_NAME, stop_mark
from audiomill.platform.instance import dagster_yaml
from audiomill.platform.supervision import programs
from audiomill.settings import Settings, get_settings
from audiomill.storage import ObjectStore
from sensors.inbox import Intake, close_watches
from tests.pipeline.conftest import WORKSPACE, Order
from tests.pipeline.test_sensors_start import Sensor

LONG_ENOUGH_SECONDS = 40
"""Well before a tick would end by itself, which is when it found nothing."""


@pytest.fixture(autouse=True)
def _waiting_ticks(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(get_settings().dagster, "tick_wait_seconds", 45)
    monkeypatch.setattr("sensors.inbox.MOST_WAIT_SECONDS", 45)
    yield
    close_watches()


class Ticks:
    """Ticks in threads, as the code server has them."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance, database: Database) -> None:
        self.definitions, self.instance, self.database = definitions, instance, database
        self.pool = ThreadPoolExecutor()
        self.waits = threading.Event()

    def start(self, name: str) -> "Future[SensorExecutionData]":
        return self.pool.submit(Sensor(self.definitions, self.instance, name).tick)

    def listeners(self) -> list[int]:
        with self.database.session() as session:
            return list(
                session.scalars(
                    text("SELECT pid FROM pg_stat_activity WHERE application_name = :name AND query LIKE 'LISTEN%'"),
                    {"name": APPLICATION_NAME},
                )
            )

    def listening(self) -> "Future[SensorExecutionData]":
        """A batching tick that has looked and waits."""
        self.waits.clear()
        tick = self.start("batching")
        # Not that it listens: it does so before it looks, and what is done before its look needs no notice.
        wait_until(lambda: self.waits.is_set() or tick.done())
        assert not tick.done(), tick.result()
        return tick


@pytest.fixture
def ticks(
    definitions: Definitions, instance: DagsterInstance, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ticks]:
    ticks = Ticks(definitions, instance, database)
    wait = waiting.Bell.wait

    def noted(bell: waiting.Bell, seconds: float) -> bool:
        ticks.waits.set()
        return wait(bell, seconds)

    monkeypatch.setattr(waiting.Bell, "wait", noted)
    yield ticks
    waiting.process_stops.set()
    ticks.pool.shutdown()
    waiting.process_stops.clear()


def wait_until(reached: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(400):
        if reached():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come")


def test_an_order_ends_the_wait_and_gets_its_run(ticks: Ticks, order: Order) -> None:
    tick = ticks.listening()
    order("say:a", "say:b")
    (request,) = tick.result(LONG_ENOUGH_SECONDS).run_requests or []
    assert request.job_name == "transcripts_cpu"


def test_items_that_go_back_to_their_lane_end_it_too(ticks: Ticks, order: Order, database: Database) -> None:
    batch_id, _ = order.batch("say:a")
    with database.session() as session:
        session.execute(
            text("UPDATE batches SET state = 'running', requested_at = now() WHERE id = :id"), {"id": batch_id}
        )
    tick = ticks.listening()
    with database.session() as session:
        session.execute(text("UPDATE work_items SET state = 'queued', batch_id = NULL"))
    assert len(tick.result(LONG_ENOUGH_SECONDS).run_requests or []) == 1


def test_a_batch_that_needs_a_run_again_ends_it_too(ticks: Ticks, order: Order, database: Database) -> None:
    batch_id, _ = order.batch("say:a")
    with database.session() as session:
        session.execute(text("UPDATE batches SET requested_at = now() WHERE id = :id"), {"id": batch_id})
    tick = ticks.listening()
    with database.session() as session:
        session.execute(text("UPDATE batches SET requested_at = NULL WHERE id = :id"), {"id": batch_id})
    (request,) = tick.result(LONG_ENOUGH_SECONDS).run_requests or []
    assert request.partition_key == batch_id


def test_what_comes_between_the_look_and_the_wait_is_heard(
    ticks: Ticks, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensors import batching

    look = batching._look
    looks: list[int] = []

    def look_and_order(*given: object) -> object:
        seen = look(*given)  # type: ignore[arg-type]
        if not looks:
            order("say:a")
        looks.append(1)
        return seen

    monkeypatch.setattr(batching, "_look", look_and_order)
    assert len(ticks.start("batching").result(LONG_ENOUGH_SECONDS).run_requests or []) == 1


def test_what_is_queued_during_the_look_is_batched_at_once(
    ticks: Ticks, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensors import batching

    form = batching.form_batches
    looks: list[int] = []

    def form_and_order(*given: object, **named: object) -> object:
        formed = form(*given, **named)  # type: ignore[arg-type]
        if not looks:
            order("say:a")
        looks.append(1)
        return formed

    monkeypatch.setattr(batching, "form_batches", form_and_order)
    assert len(ticks.start("batching").result(LONG_ENOUGH_SECONDS).run_requests or []) == 1


def test_a_lost_connection_ends_the_wait_without_a_word(ticks: Ticks, database: Database) -> None:
    tick = ticks.listening()
    (listener,) = ticks.listeners()
    with structlog.testing.capture_logs(), database.session() as session:
        session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": listener})
        result = tick.result(LONG_ENOUGH_SECONDS)
    assert result.skip_message == "No batch is waiting for a run."


def test_a_platform_that_stops_ends_the_wait(ticks: Ticks, settings: Settings) -> None:
    batching, inbox = ticks.listening(), ticks.start("inbox")
    stop_mark(settings).touch()
    try:
        for tick in (batching, inbox):
            assert tick.result(LONG_ENOUGH_SECONDS).skip_message
    finally:
        stop_mark(settings).unlink()


def test_with_a_backlog_nothing_waits(ticks: Ticks, order: Order, database: Database) -> None:
    order("say:a")
    with database.session() as session:
        # Every slot has its queue: nothing can be formed now.
        session.execute(
            text(
                "INSERT INTO batches "
                "(id, lane, stage, engine, resource_class, item_count, audio_seconds, requested_at) "
                "SELECT 'b' || n, 'l', 'transcribe', 'scripted', 'cpu', 1, 1, now() FROM generate_series(1, 9) AS n"
            )
        )
    assert not ticks.start("batching").result(LONG_ENOUGH_SECONDS).run_requests


def test_listening_goes_past_the_pooler(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    monkeypatch.setattr(get_settings().database, "direct_url", nowhere)
    with structlog.testing.capture_logs() as logs:
        result = ticks.start("batching").result(LONG_ENOUGH_SECONDS)
    assert result.skip_message == "No batch is waiting for a run."
    assert [entry["event"] for entry in logs] == ["nobody_to_listen_to"]


def test_by_its_setting_a_tick_does_not_wait(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings().dagster, "tick_wait_seconds", 0)
    monkeypatch.setattr("psycopg.connect", None)
    for name in ("batching", "inbox"):
        assert ticks.start(name).result(LONG_ENOUGH_SECONDS).skip_message


@pytest.fixture
def folder(settings: Settings, store: ObjectStore) -> Path:
    """Where files are dropped; empty."""
    folder = settings.data_dir / "store" / "inbox" / WORKSPACE / "transcribe"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def drop(folder: Path, name: str) -> None:
    """As a careful client does: under a name that is no object, then renamed."""
    partial = folder / f".{name}"
    partial.write_bytes(b"RIFF" + os.urandom(8))
    partial.rename(folder / name)


def watched(ticks: Ticks, folder: Path) -> Sensor:
    """An inbox sensor whose first tick swept and found nothing to wait for."""
    inbox = Sensor(ticks.definitions, ticks.instance, "inbox")
    with pytest.MonkeyPatch.context() as at_once:
        at_once.setattr("sensors.inbox.MOST_WAIT_SECONDS", 0)
        inbox.tick()
    return inbox


def test_a_file_that_is_dropped_ends_the_wait(ticks: Ticks, order: Order, folder: Path) -> None:
    inbox = watched(ticks, folder)
    tick = ticks.pool.submit(inbox.tick)
    drop(folder, "dropped.wav")
    assert (tick.result(LONG_ENOUGH_SECONDS).skip_message or "").startswith("1 submitted")


def test_what_is_dropped_between_two_ticks_is_heard(ticks: Ticks, order: Order, folder: Path) -> None:
    inbox = watched(ticks, folder)
    drop(folder, "between.wav")
    assert (ticks.pool.submit(inbox.tick).result(LONG_ENOUGH_SECONDS).skip_message or "").startswith("1 submitted")


def test_what_comes_with_it_is_taken_by_the_same_tick(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon begins the next one up to five seconds later."""
    from sensors import inbox as module

    take = module.take_keys
    seen: list[str] = []

    def take_and_drop(*given: object, **named: object) -> object:
        seen.append("a page")
        if len(seen) == 1:
            drop(folder, "second.wav")
        return take(*given, **named)  # type: ignore[arg-type]

    inbox = watched(ticks, folder)
    monkeypatch.setattr(module, "take_keys", take_and_drop)
    drop(folder, "first.wav")
    assert (ticks.pool.submit(inbox.tick).result(LONG_ENOUGH_SECONDS).skip_message or "").startswith("2 submitted")


def test_a_tick_that_swept_and_found_nothing_listens_too(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one after a start, and one a minute: the next would begin five seconds later at the earliest."""
    swept, sweep = threading.Event(), Intake.sweep

    def sweep_and_tell(intake: Intake, after: str | None, watch: InboxWatch | None) -> str | None:
        try:
            return sweep(intake, after, watch)
        finally:
            swept.set()

    monkeypatch.setattr(Intake, "sweep", sweep_and_tell)
    tick = ticks.pool.submit(Sensor(ticks.definitions, ticks.instance, "inbox").tick)
    assert swept.wait(LONG_ENOUGH_SECONDS)
    drop(folder, "after-the-sweep.wav")
    assert (tick.result(LONG_ENOUGH_SECONDS).skip_message or "").startswith("1 submitted")


def test_what_a_sweep_sees_before_it_lies_still_is_taken_by_the_same_tick(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped before anybody listened: no event tells of it, and the next sweep is a minute away."""
    monkeypatch.setattr(get_settings().inbox, "settle_seconds", 1.5)
    drop(folder, "before-the-watch.wav")
    inbox = Sensor(ticks.definitions, ticks.instance, "inbox")
    said = ticks.pool.submit(inbox.tick).result(LONG_ENOUGH_SECONDS).skip_message or ""
    assert said.startswith("1 submitted")


def test_a_folder_that_is_moved_in_is_taken_with_all_it_holds(
    ticks: Ticks, order: Order, folder: Path, tmp_path: Path
) -> None:
    inbox = watched(ticks, folder)
    (tmp_path / "talks" / "deep").mkdir(parents=True)
    for place in ("talks/a.wav", "talks/b.wav", "talks/deep/c.wav"):
        (tmp_path / place).write_bytes(b"RIFF" + os.urandom(8))
    (tmp_path / "talks").rename(folder / "talks")
    assert (ticks.pool.submit(inbox.tick).result(LONG_ENOUGH_SECONDS).skip_message or "").startswith("3 submitted")


def test_only_what_changed_is_looked_at(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        drop(folder, f"old-{number}.wav")
    inbox = watched(ticks, folder)
    monkeypatch.setattr("sensors.inbox.take_page", None)
    for name in ("old-3.wav", "zzz.wav"):
        drop(folder, name)
    assert (ticks.pool.submit(inbox.tick).result(LONG_ENOUGH_SECONDS).skip_message or "").startswith("2 submitted")


def test_what_is_still_written_is_taken_when_it_lies_still(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = watched(ticks, folder)
    # The event says that it lies still, the store that it does not yet.
    monkeypatch.setattr("audiomill.inbox.watch.STILL_MARGIN_SECONDS", -1.5)
    monkeypatch.setattr(get_settings().inbox, "settle_seconds", 1.5)
    drop(folder, "growing.wav")
    said = []
    while not said or said[-1].startswith("0 submitted"):
        said.append(ticks.pool.submit(inbox.tick).result(LONG_ENOUGH_SECONDS).skip_message or "")
    assert len(said) > 1
    assert said[-1].startswith("1 submitted")


def test_what_no_event_told_is_found_by_the_sweep(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = watched(ticks, folder)
    drop(folder, "unheard.wav")
    monkeypatch.setattr("audiomill.storage.watching.FolderWatch.changed", lambda self: set())
    monkeypatch.setattr(get_settings().inbox, "sweep_seconds", 0)
    assert (inbox.tick().skip_message or "").startswith("1 submitted")


def test_an_inbox_that_cannot_be_watched_is_swept(
    ticks: Ticks, order: Order, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_watches(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiomill.inbox.watch.FolderWatch", no_watches)
    drop(folder, "swept.wav")
    with structlog.testing.capture_logs() as logs:
        assert (Sensor(ticks.definitions, ticks.instance, "inbox").tick().skip_message or "").startswith("1 submitted")
    assert "inbox_not_watched" in [entry["event"] for entry in logs]


def test_every_sensor_has_a_thread(definitions: Definitions, settings: Settings) -> None:
    sensors = len(list(definitions.sensors or []))
    assert dagster_yaml(settings)["sensors"]["num_workers"] >= sensors
    command = programs(settings, embedded=True)[1].command
    assert int(command[command.index("--max-workers") + 1]) > sensors
