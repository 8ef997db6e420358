"""Availability: what this worker can run is told to the database, where orders find it."""

import socket

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from audiomill.jobs.availability import AvailabilityReport, report
from resources import DatabaseResource, EnginesResource


@sensor(
    name="availability",
    description="Says which engines, models and languages can run here.",
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
)
def availability(context: SensorEvaluationContext, database: DatabaseResource, engines: EnginesResource) -> SkipReason:
    """Ask every engine of the catalogue and report. Weights that were pulled meanwhile are seen within a minute."""
    rows = [AvailabilityReport(**vars(row)) for row in engines.available()]
    with database.get().session() as session:
        report(session, worker=socket.gethostname(), rows=rows)
    ready = sorted({row.engine for row in rows if row.available})
    context.log.debug("reported %d rows", len(rows))
    return SkipReason(f"Can run here: {', '.join(ready) or 'nothing'}.")
