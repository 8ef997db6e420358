"""Availability: what this machine can run is told to the database, where orders find it.

Where runs execute on other machines, those speak for themselves: at the start of a run (ops/work.py) and by
`audiomill engines report`.
"""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from ops.discretion import discreet
from resources import DatabaseResource, EnginesResource, SettingsResource


@sensor(
    name="availability",
    description="Says which engines, models and languages can run here.",
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def availability(
    context: SensorEvaluationContext,
    database: DatabaseResource,
    engines: EnginesResource,
    settings: SettingsResource,
) -> SkipReason:
    """Ask every engine of the catalogue and report. Weights that were pulled meanwhile are seen within a minute."""
    if not settings.get().engines.report_from_code_location:
        return SkipReason("Runs execute on other machines, which report for themselves.")
    rows = engines.report(database.get()) or ()
    ready = sorted({row.engine for row in rows if row.available})
    for row in rows:
        if row.fault is not None:
            context.log.warning("The engine %s cannot be used: %s", row.engine, row.fault)
    return SkipReason(f"Can run here: {', '.join(ready) or 'nothing'}.")
