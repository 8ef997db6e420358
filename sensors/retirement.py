"""Retirement: partition keys of batches that ended long ago are taken from Dagster, whose lists stay short by it."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from assets.batch_products import partitions_name
from audiomill.catalogue.stages import STAGES
from audiomill.jobs import retirement as retired_batches
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

KEYS_PER_TICK = 500


@sensor(
    name="retirement",
    description="Takes partition keys from Dagster `retention.partition_days` after their batch ended.",
    minimum_interval_seconds=600,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def retirement(context: SensorEvaluationContext, database: DatabaseResource, settings: SettingsResource) -> SkipReason:
    """Delete, then mark: a tick that is lost in between deletes again, which does no harm."""
    with database.get().session() as session:
        old = retired_batches.retirable(session, settings.get(), limit=KEYS_PER_TICK)
    for batch_id, stage in old:
        context.instance.delete_dynamic_partition(partitions_name(STAGES[stage]), batch_id)
    if old:
        with database.get().session() as session:
            retired_batches.mark_retired(session, [batch_id for batch_id, _ in old])
    return SkipReason(f"{len(old)} partition keys retired.")
