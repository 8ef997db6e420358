"""Retirement: what Dagster keeps of what ended long ago is taken from it: partition keys, runs, events, logs.

Dagster has no call for many, so a tick goes on for as long as it may, at the rate that Dagster can: some thousand keys
a tick, where 240 batches a minute is the most that Dagster starts.
"""

import time
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from assets.batch_products import partitions_name
from audiomill.catalogue.stages import STAGES
from audiomill.database.connection import Database
from audiomill.jobs.batches import retirement as retired_batches
from audiomill.settings import Settings
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

KEYS_AT_A_TIME = 100
RUNS_AT_A_TIME = 50
SECONDS_PER_TICK = 20.0
"""For keys, and again for runs: a tick may last 60."""
ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


@sensor(
    name="retirement",
    description=(
        "Takes partition keys `retention.partition_days` after their batch ended, and runs with their events and logs "
        "`retention.run_days` after they ended, from Dagster."
    ),
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def retirement(context: SensorEvaluationContext, database: DatabaseResource, settings: SettingsResource) -> SkipReason:
    """Delete, then mark: a tick that is lost in between deletes again, which does no harm."""
    keys = _retire_keys(context, database.get(), settings.get())
    runs = delete_runs(context.instance, datetime.now(UTC) - timedelta(days=settings.get().retention.run_days))
    return SkipReason(f"{keys} partition keys retired, {runs} runs deleted with their events and logs.")


def _retire_keys(context: SensorEvaluationContext, database: Database, settings: Settings) -> int:
    end = time.monotonic() + SECONDS_PER_TICK
    retired = 0
    while time.monotonic() < end:
        with database.session() as session:
            old = retired_batches.retirable(session, settings, limit=KEYS_AT_A_TIME)
        if not old:
            break
        for batch_id, stage in old:
            context.instance.delete_dynamic_partition(partitions_name(STAGES[stage]), batch_id)
        with database.session() as session:
            retired_batches.mark_retired(session, [batch_id for batch_id, _ in old])
        retired += len(old)
    return retired


def delete_runs(instance: DagsterInstance, before: datetime) -> int:
    """Delete what ended before that moment, oldest first, for as long as a tick may; how many."""
    end = time.monotonic() + SECONDS_PER_TICK
    deleted = 0
    while time.monotonic() < end:
        old = instance.get_run_records(
            RunsFilter(statuses=ENDED, updated_before=before), limit=RUNS_AT_A_TIME, ascending=True
        )
        for record in old:
            run_id = record.dagster_run.run_id
            # Logs first: what is left when a tick dies in between is found again by its run.
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
        deleted += len(old)
        if len(old) < RUNS_AT_A_TIME:
            break
    return deleted
