"""The reaper: runs that fell silent are ended and their batches begin again; Dagster's state and ours are compared.

Only the Kubernetes and ECS launchers of Dagster look after their runs' health, so liveness is our own: the lease.
"""

import json
import time

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from audiomill.jobs import recovery
from audiomill.jobs.queries import live_batches
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

PER_TICK = 50
LIVE = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@sensor(
    name="reaper",
    description="Ends runs that fell silent, and mends what differs between Dagster and the database.",
    minimum_interval_seconds=15,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def reaper(context: SensorEvaluationContext, database: DatabaseResource, settings: SettingsResource) -> SensorResult:
    """Three sweeps: leases that lapsed, batches whose run never came, runs that own no batch.

    The cursor holds since when each run was seen without a batch: a run that has just given its batch up, or that is
    about to claim it, is not a stray yet.
    """
    ttl = settings.get().lease.ttl_seconds
    with database.get().session() as session:
        expired = recovery.expire_leases(session, settings.get(), limit=PER_TICK)
        unstarted = recovery.unstarted(session, settings.get())
    for lapsed in expired:
        end_run(context.instance, lapsed.run_id, f"Its lease on batch {lapsed.batch_id} lapsed: it fell silent.")
    missing = _without_live_run(context.instance, [batch_id for batch_id, _ in unstarted])
    with database.get().session() as session:
        for batch_id in missing:
            recovery.request_again(session, batch_id, "The run that was asked for never came.")
    ownerless = _without_batch(context.instance, database)
    since = json.loads(context.cursor) if context.cursor else {}
    now = time.time()
    seen = {run_id: since.get(run_id, now) for run_id in ownerless}
    strays = [run_id for run_id, first in seen.items() if now - first > ttl]
    for run_id in strays:
        end_run(context.instance, run_id, "It runs on without a batch.")
    said = f"{len(expired)} leases lapsed, {len(missing)} runs never came, {len(strays)} runs had no batch."
    if expired or missing or strays:
        context.log.warning(said)
    return SensorResult(skip_reason=said, cursor=json.dumps(seen))


def end_run(instance: DagsterInstance, run_id: str, reason: str) -> None:
    """End a run so that its slot is free: ask its process to stop, then say that it failed. Harmless when it ended."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    instance.report_engine_event(f"audiomill ends this run. {reason}", run)
    try:
        instance.run_launcher.terminate(run_id)
    except Exception as error:  # noqa: BLE001 - any launcher; where its process is gone there is nothing to stop
        instance.report_engine_event(f"Its process could not be reached: {error}", run)
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, f"Ended by audiomill. {reason}")


def _without_live_run(instance: DagsterInstance, batch_ids: list[str]) -> list[str]:
    """Those for which Dagster has no run that is waiting or working. One in a long queue is no loss."""
    if not batch_ids:
        return []
    records = instance.get_run_records(RunsFilter(tags={"audiomill/batch": batch_ids}, statuses=LIVE))
    live = {record.dagster_run.tags["audiomill/batch"] for record in records}
    return [batch_id for batch_id in batch_ids if batch_id not in live]


def _without_batch(instance: DagsterInstance, database: DatabaseResource) -> list[str]:
    """Runs of batches that are at work but own none now. There are as many at work as there are slots, no more."""
    # Runs first: one that claims in between is then seen with its batch.
    runs = instance.get_runs(
        RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]), limit=PER_TICK
    )
    at_work = [run.run_id for run in runs if "audiomill/batch" in run.tags]
    if not at_work:
        return []
    with database.get().session() as session:
        owners = {batch.run_id for batch in live_batches(session)}
    return [run_id for run_id in at_work if run_id not in owners]
