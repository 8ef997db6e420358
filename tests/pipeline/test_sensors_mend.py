"""Failure, cancellation, reaping, retirement: what ends badly begins again, once, and slots become free."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    build_run_status_sensor_context,
)
from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.jobs import leases, recovery
from audiomill.jobs.queries import get_batch
from audiomill.settings import Settings
from ops.claim import asked_for
from sensors.retirement import delete_runs
from tests.fakes.orders import rested
from tests.pipeline.conftest import Materialise, Order, states
from tests.pipeline.test_sensors_start import Sensor


def live_run(
    instance: DagsterInstance,
    batch_id: str,
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    tags: dict[str, str] | None = None,
) -> str:
    """A run that Dagster believes to be alive."""
    run = DagsterRun(
        job_name="transcripts_cpu",
        run_id=str(uuid.uuid4()),
        status=status,
        tags=tags if tags is not None else {"audiomill/batch": batch_id, "dagster/run_key": batch_id},
    )
    instance.add_run(run)
    return run.run_id


def owned(database: Database, settings: Settings, batch_id: str, run_id: str) -> None:
    with database.session() as session:
        leases.claim(session, batch_id=batch_id, stage="transcribe", run_id=run_id, settings=settings)


def lapse(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE batches SET lease_expires_at = clock_timestamp() - interval '1 second'"))


def status_tick(definitions: Definitions, instance: DagsterInstance, name: str, run_id: str, event: object) -> None:
    """What the daemon does for one ended run."""
    sensor = definitions.resolve_sensor_def(name)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    with build_run_status_sensor_context(
        sensor_name=name,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=run,
        resources={key: definitions.resources[key] for key in ("database", "settings")},
    ) as context:
        sensor(context.for_run_failure() if name == "run_failure" else context)


def test_a_failed_runs_batch_is_given_up_and_its_lane_rests(
    definitions: Definitions, instance: DagsterInstance, database: Database, settings: Settings, order: Order
) -> None:
    batch_id, _ = order.batch("say:a")
    run_id = live_run(instance, batch_id)
    owned(database, settings, batch_id, run_id)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    status_tick(definitions, instance, "run_failure", run_id, instance.report_run_failed(run, "its worker was killed"))
    with database.session() as session:
        batch = get_batch(session, batch_id)
        assert len(recovery.paused_lanes(session)) == 1
    assert batch.state == "cancelled"
    assert "its worker was killed" in (batch.note or "")


def test_a_refused_runs_failure_changes_nothing(
    definitions: Definitions,
    instance: DagsterInstance,
    database: Database,
    settings: Settings,
    order: Order,
    materialise: Materialise,
) -> None:
    batch_id, _ = order.batch("say:a")
    owned(database, settings, batch_id, "live")
    refused = materialise(batch_id, {"audiomill/batch": batch_id, "dagster/run_key": batch_id})
    (failure,) = [
        event for event in refused.all_events if event.is_job_failure if hasattr(event, "is_job_failure")
    ] or [refused.all_events[-1]]
    status_tick(definitions, instance, "run_failure", refused.run_id, failure)
    with database.session() as session:
        batch = get_batch(session, batch_id)
    assert (batch.state, batch.run_id) == ("running", "live")


def test_a_cancelled_runs_items_go_back_to_their_lane(
    definitions: Definitions, instance: DagsterInstance, database: Database, settings: Settings, order: Order
) -> None:
    batch_id, jobs = order.batch("say:a", "say:b")
    run_id = live_run(instance, batch_id)
    owned(database, settings, batch_id, run_id)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    status_tick(definitions, instance, "run_cancelled", run_id, instance.report_run_canceled(run))
    with database.session() as session:
        assert get_batch(session, batch_id).state == "cancelled"
        open_items = session.execute(text("SELECT state, batch_id FROM work_items")).all()
    assert [tuple(row) for row in open_items] == [("queued", None)] * 2
    assert states(database, jobs) == ["queued", "queued"]


def test_a_re_execution_does_not_speak_for_the_run_that_was_asked_for() -> None:
    tags = {"dagster/run_key": "batch"}
    assert asked_for(DagsterRun(job_name="j", run_id=str(uuid.uuid4()), tags=tags)) == "batch"
    parent = str(uuid.uuid4())
    again = DagsterRun(job_name="j", run_id=str(uuid.uuid4()), tags=tags, parent_run_id=parent, root_run_id=parent)
    assert asked_for(again) is None


def test_a_silent_run_is_ended_and_its_items_run_in_another_batch(
    definitions: Definitions, instance: DagsterInstance, database: Database, settings: Settings, order: Order
) -> None:
    batch_id, _ = order.batch("say:a")
    run_id = live_run(instance, batch_id)
    owned(database, settings, batch_id, run_id)
    reaper = Sensor(definitions, instance, "reaper")
    reaper.tick()
    assert _status(instance, run_id) == DagsterRunStatus.STARTED
    lapse(database)
    reaper.tick()
    # Its slot is free.
    assert _status(instance, run_id) == DagsterRunStatus.FAILURE
    with database.session() as session:
        assert get_batch(session, batch_id).state == "cancelled"
    rested(database)
    (request,) = Sensor(definitions, instance, "batching").tick().run_requests
    assert request.run_key != batch_id


def test_a_run_without_a_batch_is_ended_only_when_it_stays_so(
    definitions: Definitions,
    instance: DagsterInstance,
    database: Database,
    settings: Settings,
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch_id, _ = order.batch("say:a")
    stray, owner, foreign = (
        live_run(instance, batch_id),
        live_run(instance, batch_id),
        live_run(instance, batch_id, tags={}),
    )
    owned(database, settings, batch_id, owner)
    reaper = Sensor(definitions, instance, "reaper")
    reaper.tick()
    reaper.tick()
    assert _status(instance, stray) == DagsterRunStatus.STARTED
    later = time.time() + settings.lease.ttl_seconds + 1
    monkeypatch.setattr("sensors.reaper.time.time", lambda: later)
    reaper.tick()
    assert _status(instance, stray) == DagsterRunStatus.FAILURE
    assert _status(instance, owner) == DagsterRunStatus.STARTED
    assert _status(instance, foreign) == DagsterRunStatus.STARTED


def test_a_batch_whose_run_never_came_is_given_up_unless_it_waits_its_turn(
    definitions: Definitions, instance: DagsterInstance, database: Database, settings: Settings, order: Order
) -> None:
    lost, _ = order.batch("say:a")
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds) "
                "VALUES ('waiting', 'l', 'transcribe', 'scripted', 'cpu', 1, 1)"
            )
        )
        session.execute(text("UPDATE batches SET requested_at = clock_timestamp() - interval '1 day'"))
    live_run(instance, "waiting", DagsterRunStatus.NOT_STARTED)
    Sensor(definitions, instance, "reaper").tick()
    with database.session() as session:
        assert get_batch(session, lost).state == "cancelled"
        assert get_batch(session, "waiting").state == "formed"


def test_old_keys_are_retired_and_a_retired_batch_is_refused(
    definitions: Definitions,
    instance: DagsterInstance,
    database: Database,
    order: Order,
    materialise: Materialise,
) -> None:
    old, _ = order.batch("say:a")
    assert materialise(old).success
    with database.session() as session:
        session.execute(text("UPDATE batches SET finished_at = clock_timestamp() - interval '31 days'"))
    new, _ = order.batch("say:b")
    assert materialise(new).success
    retirement = Sensor(definitions, instance, "retirement")
    retirement.tick()
    assert instance.get_dynamic_partitions("transcript_batches") == [new]
    retirement.tick()
    assert not materialise(old).success


def _status(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_old_runs_go_with_their_events_and_logs_and_live_ones_stay(
    definitions: Definitions, instance: DagsterInstance, order: Order, materialise: Materialise
) -> None:
    batch_id, _ = order.batch("say:a")
    ended = materialise(batch_id).run_id
    live = live_run(instance, batch_id)
    assert delete_runs(instance, datetime.now(UTC) - timedelta(days=1)) == 0
    assert delete_runs(instance, datetime.now(UTC) + timedelta(days=1)) == 1
    assert instance.get_run_by_id(ended) is None
    assert instance.all_logs(ended) == []
    assert instance.get_run_by_id(live) is not None


def test_the_retention_sensor_tells_what_it_freed(definitions: Definitions, instance: DagsterInstance) -> None:
    assert "rows" in str(Sensor(definitions, instance, "retention").tick().skip_message)
