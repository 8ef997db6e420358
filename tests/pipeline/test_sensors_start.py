"""Intake and batching: what starts runs. Ticks that are lost, repeated, or find nothing to do."""

import json
from datetime import UTC, datetime

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    build_sensor_context,
    partition_loading_context,
)
from dagster._core.definitions.sensor_definition import SensorExecutionData
from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.jobs.availability import table
from audiomill.jobs.batches import recovery
from audiomill.jobs.batches.forming import startable
from audiomill.jobs.batches.workers import Fate
from audiomill.settings import Settings, get_settings
from audiomill.storage import ObjectStore
from tests.fakes.orders import rested
from tests.pipeline.conftest import WORKSPACE, Materialise, Order


class Sensor:
    """A sensor of the definitions, ticked by hand; its cursor is kept as the daemon keeps it."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance, name: str) -> None:
        self.definition = definitions.resolve_sensor_def(name)
        self.definitions, self.instance = definitions, instance
        self.cursor: str | None = None

    def tick(self, *, lost: bool = False) -> SensorExecutionData:
        resources = {key: self.definitions.resources[key] for key in ("database", "store", "settings", "engines")}
        with (
            partition_loading_context(dynamic_partitions_store=self.instance),
            build_sensor_context(
                instance=self.instance, cursor=self.cursor, definitions=self.definitions, resources=resources
            ) as context,
        ):
            result = self.definition.evaluate_tick(context)
        if not lost:
            self.cursor = result.cursor
        return result


@pytest.fixture
def batching(definitions: Definitions, instance: DagsterInstance) -> Sensor:
    return Sensor(definitions, instance, "batching")


def requested(database: Database) -> list[bool]:
    with database.session() as session:
        return [
            bool(row.asked) for row in session.execute(text("SELECT requested_at IS NOT NULL AS asked FROM batches"))
        ]


def test_a_tick_forms_a_batch_and_asks_for_its_run(
    batching: Sensor, order: Order, instance: DagsterInstance, database: Database
) -> None:
    order("say:a", "say:b")
    (request,) = batching.tick().run_requests
    assert request.job_name == "transcripts_cpu"
    assert request.run_key == request.partition_key
    assert request.tags["audiomill/batch"] == request.partition_key
    assert request.tags["audiomill/resource_class"] == "cpu"
    assert request.tags["audiomill/stage"] == "transcribe"
    assert instance.get_dynamic_partitions("transcript_batches") == [request.partition_key]
    assert instance.get_dynamic_partitions("speech_batches") == []


def test_at_rest_it_skips(batching: Sensor, order: Order) -> None:
    assert batching.tick().run_requests in (None, [])
    assert batching.cursor in (None, "")


def test_a_tick_that_was_lost_asks_again_with_the_same_key(batching: Sensor, order: Order, database: Database) -> None:
    order("say:a")
    (lost,) = batching.tick(lost=True).run_requests
    assert requested(database) == [False]
    (found,) = batching.tick().run_requests
    assert found.run_key == lost.run_key


def test_the_tick_after_knows_that_the_run_was_asked_for(batching: Sensor, order: Order, database: Database) -> None:
    order("say:a")
    assert len(batching.tick().run_requests) == 1
    assert not batching.tick().run_requests
    assert requested(database) == [True]
    assert not batching.tick().run_requests


def test_what_a_run_that_broke_at_once_left_open_runs_in_a_batch_of_its_own_key(
    batching: Sensor, order: Order, database: Database, settings: Settings
) -> None:
    order("say:a")
    (first,) = batching.tick().run_requests
    # Recovery was faster than the next tick.
    with database.session() as session:
        recovery.run_failed(
            session, run_id="r", reason="No.", settings=settings, fate=Fate(), asked_for=first.partition_key
        )
    assert not batching.tick().run_requests
    rested(database)
    (second,) = batching.tick().run_requests
    assert first.run_key != second.run_key
    assert requested(database) == [False, False]


def test_a_tick_is_bounded(batching: Sensor, order: Order, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensors.batching.BATCHES_PER_TICK", 2)
    order("say:a")
    batching.tick()
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds) "
                "SELECT 'b' || n, 'l', 'transcribe', 'scripted', 'cpu', 1, 1 FROM generate_series(1, 7) AS n"
            )
        )
    seen: list[str] = []
    for _ in range(10):
        result = batching.tick()
        assert len(result.run_requests or []) <= 2
        seen += [request.run_key for request in result.run_requests or []]
    assert len(seen) == len(set(seen)) == 7
    with database.session() as session:
        assert startable(session) == []


def test_the_inbox_is_swept_and_a_repeat_makes_nothing_new(
    definitions: Definitions, instance: DagsterInstance, order: Order, store: ObjectStore, database: Database
) -> None:
    for name in ("a.wav", "b 🎙.wav", "ünï.wav"):
        store.put_bytes(f"inbox/{WORKSPACE}/transcribe/{name}", b"RIFF" + name.encode())
    store.put_bytes("inbox/nobody/transcribe/x.wav", b"RIFF")
    inbox = Sensor(definitions, instance, "inbox")

    def jobs() -> int:
        with database.session() as session:
            return session.scalar(text("SELECT count(*) FROM jobs")) or 0

    result = inbox.tick()
    assert "3 submitted, 1 rejected" in (result.skip_message or "")
    assert jobs() == 3
    inbox.tick()
    Sensor(definitions, instance, "inbox").tick()
    assert jobs() == 3


def test_the_sweep_goes_on_where_the_last_tick_ended(
    definitions: Definitions,
    instance: DagsterInstance,
    order: Order,
    store: ObjectStore,
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(7):
        store.put_bytes(f"inbox/{WORKSPACE}/transcribe/sweep-{number}.wav", b"RIFF%d" % number)
    from audiomill.settings import get_settings

    monkeypatch.setattr(get_settings().inbox, "page_size", 2)
    monkeypatch.setattr(get_settings().inbox, "pages_per_tick", 1)
    inbox = Sensor(definitions, instance, "inbox")
    cursors = []
    for _ in range(8):
        inbox.tick()
        cursors.append(inbox.cursor)
    assert len(set(cursors)) > 3
    with database.session() as session:
        swept = session.scalar(text("SELECT count(*) FROM recordings WHERE object_key LIKE '%/sweep-%'"))
    assert swept == 7


def test_intake_counts_the_day_and_rests_when_nothing_comes(
    definitions: Definitions, instance: DagsterInstance, order: Order
) -> None:
    order("say:a", "say:b", "say:c")
    intake = Sensor(definitions, instance, "intake")
    intake.tick()
    (record,) = instance.fetch_materializations(AssetKey("recordings"), limit=5).records
    assert record.partition_key == datetime.now(UTC).date().isoformat()
    assert record.asset_materialization is not None
    counted = {name: value.value for name, value in record.asset_materialization.metadata.items()}
    assert (counted["recordings"], counted["workspaces"]) == (3, 1)
    before = intake.cursor
    assert json.loads(before or "{}")["newest"].startswith("rec_")
    result = intake.tick()
    assert "Nothing came in" in str(result.skip_message)
    assert len(instance.fetch_materializations(AssetKey("recordings"), limit=5).records) == 1


def test_availability_is_reported_under_this_machines_name(
    definitions: Definitions, instance: DagsterInstance, order: Order, database: Database
) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM engine_availability"))
    Sensor(definitions, instance, "availability").tick()
    Sensor(definitions, instance, "availability").tick()
    with database.session() as session:
        views = {view.engine: view for view in table(session)}
    assert views["scripted"].available
    assert views["scripted"].workers == 1
    assert {"pocketsphinx", "espeak-ng", "faster-whisper"} <= set(views)


def test_a_code_location_beside_which_no_run_executes_says_nothing(
    definitions: Definitions, instance: DagsterInstance, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM engine_availability"))
    monkeypatch.setenv("AUDIOMILL_ENGINES__REPORT_FROM_CODE_LOCATION", "false")
    get_settings.cache_clear()
    try:
        Sensor(definitions, instance, "availability").tick()
    finally:
        get_settings.cache_clear()
    with database.session() as session:
        assert table(session) == []


def test_a_run_says_what_its_machine_can_run(
    order: Order, database: Database, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run executes is where an engine can run: the code location's machine may be another."""
    batch_id, _ = order.batch("say:hello there")
    with database.session() as session:
        session.execute(text("DELETE FROM engine_availability"))
    assert materialise(batch_id).success
    with database.session() as session:
        views = {view.engine: view for view in table(session)}
    assert views["scripted"].available
