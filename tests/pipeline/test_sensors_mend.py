"""Failure, cancellation, reaping, retirement: what ends badly begins again, once, and slots become free."""

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    build_run_status_sensor_context,
)
from dagster._core.events import EngineEventData
from dagster._core.storage.compute_log_manager import ComputeIOType
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_batch
from audiomill.scratch import run_scratch, scratch_root
from audiomill.settings import Settings, get_settings
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


def test_a_tick_retires_as_many_keys_as_it_has_time_for(
    definitions: Definitions, instance: DagsterInstance, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More batches are made in a minute than Dagster takes in one call."""
    monkeypatch.setattr("sensors.retirement.KEYS_AT_A_TIME", 2)
    keys = [f"b{number}" for number in range(7)]
    instance.add_dynamic_partitions("transcript_batches", keys)
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds, state, "
                "finished_at) SELECT unnest(CAST(:keys AS text[])), 'l', 'transcribe', 'scripted', 'cpu', 1, 1, "
                "'closed', clock_timestamp() - interval '31 days'"
            ),
            {"keys": keys},
        )
    assert "7 partition keys retired" in str(Sensor(definitions, instance, "retirement").tick().skip_message)
    assert instance.get_dynamic_partitions("transcript_batches") == []


def test_the_sensor_retires_old_runs(
    definitions: Definitions,
    instance: DagsterInstance,
    order: Order,
    materialise: Materialise,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch_id, _ = order.batch("say:a")
    ended = materialise(batch_id).run_id
    retirement = Sensor(definitions, instance, "retirement")
    retirement.tick()
    assert instance.get_run_by_id(ended) is not None
    # A day that has not come yet: nothing is older.
    monkeypatch.setattr(get_settings().retention, "run_days", -1)
    assert "1 runs deleted" in str(retirement.tick().skip_message)
    assert instance.get_run_by_id(ended) is None


def _status(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_old_runs_go_with_their_events_and_logs_and_live_ones_stay(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        ended, live = live_run(instance, ""), live_run(instance, "")
        logs = {}
        for run_id in (ended, live):
            run = instance.get_run_by_id(run_id)
            assert run is not None
            instance.report_engine_event("At work.", run)
            with instance.compute_log_manager.open_log_stream([run_id, "compute_logs", "step"], ComputeIOType.STDERR) as log:  # fmt: skip  # noqa: E501
                assert log is not None
                log.write("said")
            logs[run_id] = [path for path in tmp_path.rglob("*.err") if run_id in str(path)]
            assert logs[run_id]
        run = instance.get_run_by_id(ended)
        assert run is not None
        instance.report_run_failed(run)
        assert delete_runs(instance, datetime.now(UTC) - timedelta(days=1)) == 0
        assert delete_runs(instance, datetime.now(UTC) + timedelta(days=1)) == 1
        assert instance.get_run_by_id(ended) is None
        assert instance.all_logs(ended) == []
        assert not any(path.exists() for path in logs[ended])
        assert instance.get_run_by_id(live) is not None
        assert all(path.exists() for path in logs[live])


def test_the_retention_sensor_tells_what_it_freed(
    definitions: Definitions, instance: DagsterInstance, database: Database
) -> None:
    with database.session() as session:
        session.execute(
            text("INSERT INTO turns (queue, contested, served_at) VALUES ('gone', 0, now() - interval '1000 days')")
        )
    retention = Sensor(definitions, instance, "retention")
    assert "Freed 1 rows, 0 objects, 0 bytes" in str(retention.tick().skip_message)
    assert "Freed 0 rows" in str(retention.tick().skip_message)


def test_the_reaper_removes_sound_that_a_dead_run_left(
    definitions: Definitions, instance: DagsterInstance, settings: Settings
) -> None:
    left = scratch_root(settings.data_dir) / "dead-run"
    left.mkdir(parents=True)
    (left / "samples").write_bytes(b"a customer's sound")
    with run_scratch(settings.data_dir, "living-run") as living:
        assert "1 left-over scratch folders" in str(Sensor(definitions, instance, "reaper").tick().skip_message)
        assert not left.exists()
        assert living.is_dir()


def test_one_job_of_the_reaper_that_breaks_does_not_stop_the_others(
    definitions: Definitions,
    instance: DagsterInstance,
    database: Database,
    settings: Settings,
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, _ = order.batch("say:a")
    owned(database, settings, bad, "bad")
    good, _ = order.batch("say:b")
    owned(database, settings, good, "good")
    lapse(database)
    expire = recovery.expire

    def breaks(session: Session, lapsed: recovery.Owned, *given: Any) -> bool:
        if lapsed.run_id == "bad":
            session.execute(text("SELECT 1 / 0"))
        return expire(session, lapsed, *given)

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "expire", breaks)
        patch.setattr(recovery, "unstarted", lambda *_: 1 / 0)
        stray = live_run(instance, good)
        reaper = Sensor(definitions, instance, "reaper")
        assert "lapsed broke" in str(reaper.tick().skip_message)
        with database.session() as session:
            assert get_batch(session, bad).state == "running"
            assert get_batch(session, good).state == "cancelled"
        later = time.time() + settings.lease.ttl_seconds + 1
        patch.setattr("sensors.reaper.time.time", lambda: later)
        reaper.tick()
        assert _status(instance, stray) == DagsterRunStatus.FAILURE
    reaper.tick()
    with database.session() as session:
        assert get_batch(session, bad).state == "cancelled"


def test_of_a_burst_of_cancelled_runs_none_is_taken_for_broken(
    definitions: Definitions, instance: DagsterInstance, database: Database, settings: Settings, order: Order
) -> None:
    batch_id, jobs = order.batch("say:a")
    run_id = live_run(instance, batch_id)
    owned(database, settings, batch_id, run_id)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceled(run)
    lapse(database)
    Sensor(definitions, instance, "reaper").tick()
    assert states(database, jobs) == ["queued"]
    with database.session() as session:
        assert recovery.paused_lanes(session) == []


def test_a_silent_runs_process_is_ended_and_one_that_died_in_a_call_is_proof(
    definitions: Definitions, instance: DagsterInstance, database: Database, settings: Settings, order: Order
) -> None:
    """A real process, stopped, killed, crashed by itself; that time what was inside its call is counted."""
    (job_id,) = order("say:a")
    for crashes, signal_sent in ((0, signal.SIGSTOP), (0, signal.SIGKILL), (1, signal.SIGSEGV)):
        rested(database)
        with database.session() as session:
            (batch_id,) = form_batches(session, settings)
        with at_work(settings, database, batch_id) as (process, run_id):
            process.send_signal(signal_sent)
            if signal_sent != signal.SIGSTOP:
                process.wait(10)
            lapse(database)
            Sensor(definitions, instance, "reaper").tick()
            assert process.wait(10) == -(signal.SIGKILL if signal_sent == signal.SIGSTOP else signal_sent)
            assert states(database, [job_id]) == ["queued"]
            with database.session() as session:
                assert session.scalars(text("SELECT crashes FROM work_items")).one() == crashes
                assert recovery.owned_by(session, run_id) is None
    assert list((settings.data_dir / "run" / "calls").iterdir()) == []


def test_runs_of_any_kind_without_a_process_are_ended(
    definitions: Definitions, database: Database, tmp_path: Path
) -> None:
    living, gone = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2))
    gone.kill()
    gone.wait()
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        runs = {}
        for name, pid, tags in (("living", living.pid, {}), ("gone", gone.pid, {}), ("unknown", None, {})):
            runs[name] = live_run(instance, "", tags=tags)
            run = instance.get_run_by_id(runs[name])
            assert run is not None
            if pid is not None:
                instance.report_engine_event(
                    f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid)
                )
        reaper = Sensor(definitions, instance, "reaper")
        reaper.tick()
        assert _status(instance, runs["gone"]) == DagsterRunStatus.STARTED
        reaper.tick()
        assert _status(instance, runs["gone"]) == DagsterRunStatus.FAILURE
        assert _status(instance, runs["living"]) == DagsterRunStatus.STARTED
        assert _status(instance, runs["unknown"]) == DagsterRunStatus.STARTED
    living.kill()
    living.wait()


def test_a_run_whose_worker_lives_is_not_ended_after_the_clock_was_set(
    definitions: Definitions, database: Database, settings: Settings, order: Order, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (job_id,) = order("say:a")
    rested(database)
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
    # A clock that was set forward: the process seems to be younger than Dagster's word that it was started.
    monkeypatch.setattr("sensors.dagster_runs._CLOCKS_SECONDS", -3600.0)
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = live_run(instance, batch_id)
        with at_work(settings, database, batch_id, run_id) as (process, _):
            run = instance.get_run_by_id(run_id)
            assert run is not None
            instance.report_engine_event(
                f"Started process for run (pid: {process.pid}).", run, EngineEventData.in_process(process.pid)
            )
            reaper = Sensor(definitions, instance, "reaper")
            reaper.tick()
            reaper.tick()
            assert _status(instance, run_id) == DagsterRunStatus.STARTED
            assert states(database, [job_id]) == ["running"]


WORKER = """
import sys, time
from pathlib import Path
from audiomill.jobs.batches.workers import CallNotes, this_worker
from audiomill.settings import Settings
notes = CallNotes(Settings(data_dir=Path(sys.argv[1])), sys.argv[2])
notes.open()
notes.inside(sys.argv[3:])
print(this_worker(), flush=True)
time.sleep(60)
"""


@contextmanager
def at_work(
    settings: Settings, database: Database, batch_id: str, run_id: str | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns the batch and is inside a call with all of it."""
    run_id = run_id or str(uuid.uuid4())
    with database.session() as session:
        ids = session.scalars(text("SELECT id FROM work_items WHERE batch_id = :id"), {"id": batch_id}).all()
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(settings.data_dir), run_id, *ids], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        worker = process.stdout.readline().strip()
        with database.session() as session:
            claim = leases.claim(
                session, batch_id=batch_id, stage="transcribe", run_id=run_id, settings=settings, worker=worker
            )
            working.begin(session, claim, ids)
        yield process, run_id
    finally:
        process.kill()
        process.communicate()
