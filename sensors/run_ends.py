"""Runs that ended badly: their batches begin again, or their items go back to their lane."""

from dagster import (
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunStatusSensorContext,
    run_failure_sensor,
    run_status_sensor,
)

from audiomill.jobs import recovery
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource


@run_failure_sensor(
    name="run_failure",
    description="A run broke: its batch begins a new attempt with what is open, or is split.",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def run_failure(context: RunFailureSensorContext, database: DatabaseResource, settings: SettingsResource) -> None:
    """Harmless for a run that owned nothing: one that was refused, or whose batch the reaper took before."""
    run = context.dagster_run
    with database.get().session() as session:
        batch_id = recovery.run_failed(
            session,
            run_id=run.run_id,
            reason=f"The run {run.run_id} failed: {context.failure_event.message}",
            settings=settings.get(),
            batch_id=run.tags.get("audiomill/batch"),
            attempt=requested_attempt(run),
        )
    context.log.info(f"Batch {batch_id} begins again." if batch_id else "That run owned no batch.")


@run_status_sensor(
    name="run_cancelled",
    description="An operator cancelled a run: its open items go back to their lane.",
    run_status=DagsterRunStatus.CANCELED,
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def run_cancelled(context: RunStatusSensorContext, database: DatabaseResource) -> None:
    """A failure sensor does not see cancelled runs."""
    run = context.dagster_run
    with database.get().session() as session:
        batch_id = recovery.run_cancelled(
            session, run_id=run.run_id, batch_id=run.tags.get("audiomill/batch"), attempt=requested_attempt(run)
        )
    context.log.info(f"Batch {batch_id} was given up." if batch_id else "That run owned no batch.")


def requested_attempt(run: DagsterRun) -> int | None:
    """The attempt that a run was asked for; None for a re-execution, which only copied its parent's tags."""
    attempt = run.tags.get("audiomill/attempt", "")
    return int(attempt) if attempt.isdecimal() and run.parent_run_id is None else None
