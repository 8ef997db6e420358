"""Intake: the inbox is swept for new objects, and what came in by any way is counted on the asset `recordings`."""

import json
import time
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
from audiomill.jobs import tables
from audiomill.jobs.inbox import take_page
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource, StoreResource

TICK_SECONDS = 30.0
"""A tick stops taking pages after so long: Dagster ends one at 60 s, and what it did would go unsaid."""

MOST_DAYS = 7
"""Days counted in one tick at most. Dagster that was down for longer leaves the days before without a count."""


@sensor(
    name="inbox",
    description="Sweeps inbox/<workspace>/<recipe>/ of the object store, a folder and a bucket alike.",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def inbox(
    context: SensorEvaluationContext, database: DatabaseResource, store: StoreResource, settings: SettingsResource
) -> SensorResult:
    """Take up to `pages_per_tick` pages, each committed by itself. The cursor is the place in the sweep."""
    began = time.monotonic()
    after = context.cursor or None
    submitted = rejected = waiting = 0
    for _ in range(settings.get().inbox.pages_per_tick):
        tally = take_page(database.get(), store.get(), after=after, settings=settings.get())
        submitted += tally.submitted
        rejected += tally.rejected
        waiting += tally.waiting
        stuck = tally.looked_at == 0
        after = tally.next_after
        if after is None or stuck or time.monotonic() - began > TICK_SECONDS:
            break
    said = f"{submitted} submitted, {rejected} rejected, {waiting} still being written or waiting for an engine."
    if submitted or rejected:
        context.log.info(said)
    return SensorResult(skip_reason=said, cursor=after or "")


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
        newest = tables.newest_recording(session)
        if newest is None or newest == seen:
            return SkipReason("Nothing came in.")
        today = datetime.now(UTC).date()
        first = max(tables.day_of_recording(seen or newest), today - timedelta(days=MOST_DAYS))
        days = [first + timedelta(days=number) for number in range((today - first).days + 1)]
        counted = [(day, tables.intake_of(session, day)) for day in days]
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
