"""What a finished batch says of itself: the figures, the table and the links that Dagster shows.

Ids, counts, times and links only. No name, no text, no reason of a customer's file ever comes here: Dagster's event
log is kept for long and is read by operators.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from audiomill.errors import NotFound
from audiomill.formats import media_type_of
from audiomill.jobs.batches.manifests import ManifestJob
from audiomill.jobs.queries import BatchRow, BatchView
from audiomill.settings import Settings
from audiomill.storage.keys import batch_key
from audiomill.storage.store import ObjectStore
from ops.batch_chart import batch_chart
from ops.work import PICTURE

MANIFEST = "manifest.json"
TABLE_ROWS = 500
"""Rows of the table at most: one event of Dagster's log holds them all. The manifest has every job."""

OUR_FAULTS = frozenset({"internal_error", "engine_crashed", "engine_unavailable", "given_up"})
"""Codes of failures that no customer can mend."""

SCHEMA = TableSchema(
    columns=[
        # What an operator looks for comes first: at the usual width of a window Dagster cuts the last columns off.
        TableColumn("job", "string", description="`audiomill jobs show`, `GET /v1/jobs/{id}`"),
        TableColumn("step", "string", description="of the job's plan"),
        TableColumn("revision", "int", description="of the job: its order is the first, each edit the next"),
        TableColumn("state", "string"),
        TableColumn("failure_code", "string", description="the sentence that goes with it is on the job"),
        TableColumn("audio_seconds", "float", description="empty where the length was never known"),
        TableColumn(
            "engine_seconds",
            "float",
            description="its share of the time that the engine was at work: calls side by side share it evenly, jobs "
            "of one call by length; 0 where the result was there already",
        ),
        TableColumn("attempts", "int"),
    ]
)


def failed_share(rows: Sequence[BatchRow]) -> float:
    """Failed jobs / jobs that ended either way; 0 when none ended."""
    states = Counter(row.state for row in rows)
    ended = states["complete"] + states["failed"]
    return states["failed"] / ended if ended else 0.0


def failed_by_us(rows: Sequence[BatchRow]) -> float:
    """Jobs that failed through a fault of ours, or of the engine / jobs that ended either way; 0 when none ended."""
    ended = [row for row in rows if row.state in {"complete", "failed"}]
    return sum(row.failure_code in OUR_FAULTS for row in ended) / len(ended) if ended else 0.0


def nothing_came_through(rows: Sequence[BatchRow]) -> str | None:
    """Why the batch made nothing at all, for operators; None where it made something, or was cancelled."""
    states = Counter(row.state for row in rows)
    if states["complete"] or not states["failed"]:
        return None
    codes = Counter(row.failure_code for row in rows if row.state == "failed")
    counted = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    ours = any(code in OUR_FAULTS for code in codes)
    whose = "Some of it is for us to mend." if ours else "The reason lies in the files; their customers were told."
    return f"No job of this batch came through: {counted}. {whose}"


def figures(rows: Sequence[BatchRow]) -> dict[str, MetadataValue]:
    """Counts by state, and how fast it went: of completed jobs, without those whose result was there already."""
    states = Counter(row.state for row in rows)
    done = [row for row in rows if row.state == "complete"]
    made = [row for row in done if row.processing_seconds]
    audio = math.fsum(row.audio_seconds for row in made)
    taken = math.fsum(row.processing_seconds or 0.0 for row in made)
    metadata: dict[str, MetadataValue] = {
        "jobs": MetadataValue.int(len(rows)),
        **{state: MetadataValue.int(states[state]) for state in ("complete", "failed", "cancelled")},
        "recalled": MetadataValue.int(len(done) - len(made)),
        "failed_share": MetadataValue.float(round(failed_share(rows), 4)),
        "audio_seconds": MetadataValue.float(round(math.fsum(row.audio_seconds for row in done), 2)),
        "engine_seconds": MetadataValue.float(round(taken, 2)),
    }
    if audio > 0:
        metadata["real_time_factor"] = MetadataValue.float(round(taken / audio, 4))
    return metadata


def job_table(rows: Sequence[BatchRow]) -> MetadataValue:
    """One line a step of a job, what failed first."""
    ordered = sorted(rows, key=lambda row: row.state != "failed")
    return MetadataValue.table(records=[_record(row) for row in ordered[:TABLE_ROWS]], schema=SCHEMA)


def _record(row: BatchRow) -> TableRecord:
    # Until a job is complete its length is a guess by the size of its file, no figure to show.
    audio = row.audio_seconds if row.state == "complete" else None
    taken = row.processing_seconds
    # All lines need all fields. A column may be null, which the type of TableRecord forgets.
    values: Any = {
        "job": row.job_id,
        "step": row.step,
        "revision": row.revision,
        "state": row.state,
        "failure_code": row.failure_code,
        "audio_seconds": None if audio is None else round(audio, 2),
        "engine_seconds": None if taken is None else round(taken, 2),
        "attempts": row.attempts,
    }
    return TableRecord(values)


def links(
    store: ObjectStore, batch: BatchView, rows: Sequence[BatchRow], jobs: Sequence[ManifestJob], settings: Settings
) -> dict[str, MetadataValue]:
    """Write the manifest, and the picture if the run left none; give links that live for `operator_url_seconds`."""
    manifest_key = batch_key(batch.id, batch.fencing, MANIFEST)
    picture_key = batch_key(batch.id, batch.fencing, PICTURE)
    manifest = {
        "batch": batch.id,
        "stage": batch.stage,
        "engine": batch.engine,
        "model": batch.model,
        "resource_class": batch.resource_class,
        "run": batch.run_id,
        "jobs": [asdict(job) for job in jobs],
    }
    store.put_bytes(manifest_key, json.dumps(manifest, indent=1).encode(), media_type=media_type_of(MANIFEST))
    try:
        store.stat(picture_key)
    except NotFound:
        store.put_bytes(picture_key, batch_chart(rows), media_type=media_type_of(PICTURE))
    seconds = settings.storage.operator_url_seconds
    return {
        "picture": MetadataValue.url(store.signed_get(picture_key, seconds=seconds).url),
        "manifest": MetadataValue.url(store.signed_get(manifest_key, seconds=seconds).url),
        "jobs_of_this_batch": MetadataValue.text(f"audiomill jobs list --batch {batch.id}"),
    }
