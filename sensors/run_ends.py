"""Runs that ended badly: what their batches left open goes back to its lane."""

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunStatusSensorContext,
    run_failure_sensor,
    run_status_sensor,
)

from audiomill.jobs.batches import recovery
from audiomill.jobs.batches.workers import fate_of, forget
from ops.claim import asked_for
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

FAILURE_SECONDS, CANCELLED_SECONDS = 10, 15
"""How often Dagster is asked. A run that is stopped gives its items back itself; this is for those that could not.
Each look costs Dagster a tick, at rest too; their cursor misses none in between."""


@run_failure_sensor(
    name="run_failure",
    description="A run broke: its batch is given up, and its lane rests before the next.",
    minimum_interval_seconds=FAILURE_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def run_failure(context: RunFailureSensorContext, database: DatabaseResource, settings: SettingsResource) -> None:
    """Harmless for a run that owned nothing: one that was refused, or whose batch the reaper took before."""
    run, config = context.dagster_run, settings.get()
    with database.get().session() as session:
        owned = recovery.owned_by(session, run.run_id)
    fate = fate_of(config, run.run_id, owned.worker if owned else None)
    with database.get().session() as session:
        batch_id = recovery.run_failed(
            session,
            run_id=run.run_id,
            reason=f"The run {run.run_id} failed: {context.failure_event.message}",
            settings=config,
            fate=fate,
            asked_for=asked_for(run),
        )
    if fate.died:
        forget(config, run.run_id)
    context.log.info(f"Batch {batch_id} was given up." if batch_id else "That run owned no batch.")


@run_status_sensor(
    name="run_cancelled",
    description="An operator cancelled a run: its open items go back to their lane.",
    run_status=DagsterRunStatus.CANCELED,
    minimum_interval_seconds=CANCELLED_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def run_cancelled(context: RunStatusSensorContext, database: DatabaseResource) -> None:
    """A failure sensor does not see cancelled runs."""
    run = context.dagster_run
    with database.get().session() as session:
        batch_id = recovery.run_cancelled(session, run_id=run.run_id, asked_for=asked_for(run))
    context.log.info(f"Batch {batch_id} was given up." if batch_id else "That run owned no batch.")
