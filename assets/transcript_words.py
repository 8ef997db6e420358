"""Transcript words: one row a word, by day of completion (UTC), as Parquet in the object store. What analysts read."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    DailyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from audiomill.database.connection import Database
from audiomill.errors import NotFound
from audiomill.formats import media_type_of
from audiomill.jobs.daily import FinishedTranscript, finished_transcripts
from audiomill.scratch import run_scratch
from audiomill.storage.keys import table_key
from audiomill.storage.store import ObjectStore
from audiomill.transcripts import Transcript
from audiomill.transcripts.formats import parse_json
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource, StoreResource

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "transcript_words"
ROW_GROUP = 50_000
"""Rows held in memory at a time, some 10 MB; large enough for Parquet to compress well."""


@asset(
    name=TABLE,
    description="Every word of the transcripts that were finished on a day: when, how sure, by which engine.",
    group_name="tables",
    kinds={"parquet"},
    owners=["team:audiomill"],
    code_version="1",
    partitions_def=DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC", end_offset=1),
    # Any batch may have finished something on that day; which, the database says.
    deps=[AssetDep("transcripts", partition_mapping=AllPartitionMapping())],
)
@discreet
def transcript_words(
    context: AssetExecutionContext, database: DatabaseResource, store: StoreResource, settings: SettingsResource
) -> MaterializeResult[None]:
    """Write the day's table anew, whole: a day without transcripts gives an empty table with the same columns.

    Today's partition may be made too, and again; it holds what is finished by then.
    """
    day = date.fromisoformat(context.partition_key)
    with run_scratch(settings.get().data_dir, context.run.run_id) as folder:
        path = folder / f"{TABLE}.parquet"
        transcripts, rows, missing = write_words(database.get(), store.get(), day, path)
        size_bytes = path.stat().st_size
        store.get().put_file(table_key(TABLE, day.isoformat()), path, media_type=media_type_of(path.name))
    return MaterializeResult(
        metadata={
            "dagster/row_count": MetadataValue.int(rows),
            "transcripts": MetadataValue.int(transcripts),
            "transcripts_missing": MetadataValue.int(missing),
            "bytes": MetadataValue.int(size_bytes),
            "object_key": MetadataValue.text(table_key(TABLE, day.isoformat())),
        }
    )


def words_schema() -> "pa.Schema":
    """The columns. Times in seconds from the start of the recording; confidence 0 to 1, null where not given."""
    import pyarrow as pa  # noqa: PLC0415 - 0.2 s that no run of a batch needs

    return pa.schema(
        [
            pa.field("job_id", pa.string(), nullable=False),
            pa.field("workspace_id", pa.string(), nullable=False),
            pa.field("language", pa.string(), nullable=False),
            pa.field("engine", pa.string(), nullable=False),
            pa.field("segment_index", pa.int32(), nullable=False),
            pa.field("word_index", pa.int32(), nullable=False),
            pa.field("word", pa.string(), nullable=False),
            pa.field("start_seconds", pa.float64(), nullable=False),
            pa.field("end_seconds", pa.float64(), nullable=False),
            pa.field("confidence", pa.float64()),
        ]
    )


def write_words(database: Database, store: ObjectStore, day: date, path: Path) -> tuple[int, int, int]:
    """Write the table of a day, a row group at a time. Returns (transcripts, rows, transcripts that are gone)."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    schema = words_schema()
    transcripts = rows = missing = 0
    held: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for finished in _finished(database, day):
            try:
                data = store.get_bytes(finished.object_key)
            except NotFound:
                # Deleted by its customer since: it is no longer part of the day.
                missing += 1
                continue
            transcripts += 1
            for row in transcript_rows(finished, parse_json(data)):
                held.append(row)
                if len(held) == ROW_GROUP:
                    writer.write_table(pa.Table.from_pylist(held, schema=schema))
                    rows += len(held)
                    held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema=schema))
        rows += len(held)
    return transcripts, rows, missing


def transcript_rows(finished: FinishedTranscript, transcript: Transcript) -> Iterator[dict[str, Any]]:
    """The rows of one transcript; none where the order asked for no word times."""
    for segment_index, segment in enumerate(transcript.segments):
        for word_index, word in enumerate(segment.words):
            yield {
                "job_id": finished.job_id,
                "workspace_id": finished.workspace_id,
                "language": transcript.language,
                "engine": finished.engine,
                "segment_index": segment_index,
                "word_index": word_index,
                "word": word.text,
                "start_seconds": word.start_seconds,
                "end_seconds": word.end_seconds,
                "confidence": word.confidence,
            }


def _finished(database: Database, day: date) -> Iterator[FinishedTranscript]:
    """Page by page, each in a transaction of its own: reading the store between pages holds no connection."""
    after: FinishedTranscript | None = None
    while True:
        with database.session() as session:
            page = finished_transcripts(session, day, after=after)
        if not page:
            return
        yield from page
        after = page[-1]
