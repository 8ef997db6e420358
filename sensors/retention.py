"""Retention: what nobody needs any more goes, a bounded piece at a tick. What and when: audiomill/retention."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from audiomill.retention.schedule import Swept, sweep
from audiomill.retention.sweeping import Freed, Ground
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource, StoreResource

SECONDS_PER_TICK = 30.0
"""A tick may last 60 s; the last sweep that begins in time may take as long as its rows need."""


@sensor(
    name="retention",
    description="Deletes what nobody needs any more: `audiomill retention --dry-run` tells what. Tells what was freed.",
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def retention(
    context: SensorEvaluationContext, database: DatabaseResource, store: StoreResource, settings: SettingsResource
) -> SkipReason:
    """A piece of each sweep, the one that waited longest first. One that fails does not stop the others."""
    swept = sweep(Ground(database.get(), store.get(), settings.get()), seconds=SECONDS_PER_TICK)
    for each in swept:
        if each.error is not None:
            context.log.warning("%s: failed (%s); tried again with the next tick.", each.sweep.name, each.error)
        elif each.freed != Freed():
            context.log.info("%s: %s", each.sweep.name, said(each.freed))
    return SkipReason(f"Freed {said(total(swept))}.")


def total(swept: list[Swept]) -> Freed:
    """All that was freed."""
    return sum((each.freed for each in swept), Freed())


def said(freed: Freed) -> str:
    """`3 rows, 2 objects, 1,024 bytes`."""
    return f"{freed.rows:,} rows, {freed.objects:,} objects, {freed.size_bytes:,} bytes"
