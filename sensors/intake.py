"""Intake: what came in by any way is counted on the asset `recordings`. How it comes in: `inbox.py`, and the API."""

import json
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetMaterialization,
    DefaultSensorStatus,
    MetadataValue,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from assets.recordings import recordings
from audiomill.jobs import daily
from ops.discretion import discreet
from resources import DatabaseResource

MOST_DAYS = 7
"""Days counted in one tick at most. Dagster that was down for longer leaves the days before without a count."""


@sensor(
    name="intake",
    description="Counts what came in, by day, on the asset `recordings`.",
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def intake(context: SensorEvaluationContext, database: DatabaseResource) -> SensorResult | SkipReason:
    """Report the days that got recordings since the last tick; at rest this is one look at an index.

    The cursor holds the newest recording seen. Days are counted whole each time, so that a lost tick loses nothing.
    """
    seen = json.loads(context.cursor)["newest"] if context.cursor else None
    with database.get().session() as session:
        newest = daily.newest_recording(session)
        if newest is None or newest == seen:
            return SkipReason("Nothing came in.")
        today = datetime.now(UTC).date()
        first = max(daily.day_of_recording(seen or newest), today - timedelta(days=MOST_DAYS))
        days = [first + timedelta(days=number) for number in range((today - first).days + 1)]
        counted = [(day, daily.intake_of(session, day)) for day in days]
    for day, count in counted:
        if count.recordings:
            context.instance.report_runless_asset_event(
                AssetMaterialization(
                    recordings.key,
                    partition=day.isoformat(),
                    metadata={
                        "recordings": MetadataValue.int(count.recordings),
                        "workspaces": MetadataValue.int(count.workspaces),
                        "bytes": MetadataValue.int(count.size_bytes),
                    },
                )
            )
    return SensorResult(skip_reason=f"Counted {len(counted)} days.", cursor=json.dumps({"newest": newest}))
