"""The daily table of words: read back with pandas, in row groups, empty on an empty day."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance, Definitions, ExecuteInProcessResult
from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.storage import ObjectStore
from audiomill.storage.keys import table_key
from tests.pipeline.conftest import Materialise, Order

COLUMNS = [
    "job_id",
    "workspace_id",
    "language",
    "engine",
    "segment_index",
    "word_index",
    "word",
    "start_seconds",
    "end_seconds",
    "confidence",
]
Tables = Callable[[str], tuple[ExecuteInProcessResult, pd.DataFrame]]


@pytest.fixture
def tables(definitions: Definitions, instance: DagsterInstance, store: ObjectStore) -> Tables:
    def make(day: str) -> tuple[ExecuteInProcessResult, pd.DataFrame]:
        job = definitions.resolve_job_def("daily_tables")
        result = job.execute_in_process(instance=instance, partition_key=day)
        return result, pd.read_parquet(io.BytesIO(store.get_bytes(table_key("transcript_words", day))))

    return make


def today(days: int = 0) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).date().isoformat()


def test_every_word_of_the_day_is_there(order: Order, materialise: Materialise, tables: Tables) -> None:
    batch_id, jobs = order.batch("say:hello there you", "refuse", "say:good bye")
    assert materialise(batch_id).success
    result, frame = tables(today())
    assert list(frame.columns) == COLUMNS
    first = frame[frame.job_id == jobs[0]].sort_values("word_index")
    assert list(first.word) == ["hello", "there", "you"]
    assert list(first.word_index) == [0, 1, 2]
    assert set(first.engine) == {"scripted"}
    assert set(first.language) == {"en"}
    assert first.start_seconds.is_monotonic_increasing
    assert first.confidence.between(0, 1).all()
    assert set(frame.job_id) == {jobs[0], jobs[2]}
    (event,) = result.get_asset_materialization_events()
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (told["transcripts"], told["dagster/row_count"]) == (2, 5)


def test_an_empty_day_gives_an_empty_table_with_the_columns(order: Order, tables: Tables) -> None:
    _, frame = tables("2026-11-05")
    assert list(frame.columns) == COLUMNS
    assert frame.empty


def test_the_day_is_the_day_of_completion(
    order: Order, materialise: Materialise, tables: Tables, database: Database
) -> None:
    batch_id, _ = order.batch("say:late words")
    materialise(batch_id)
    with database.session() as session:
        session.execute(text("UPDATE jobs SET finished_at = finished_at - interval '1 day'"))
    assert tables(today())[1].empty
    assert list(tables(today(1))[1].word) == ["late", "words"]


def test_made_again_it_is_the_same(order: Order, materialise: Materialise, tables: Tables) -> None:
    batch_id, _ = order.batch("say:a b", "say:c d")
    materialise(batch_id)
    pd.testing.assert_frame_equal(tables(today())[1], tables(today())[1])


def test_it_is_written_in_row_groups_and_read_in_pages(
    order: Order, materialise: Materialise, tables: Tables, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.transcript_words.ROW_GROUP", 2)
    from audiomill.jobs import daily as domain

    page = domain.finished_transcripts
    monkeypatch.setattr(
        "assets.transcript_words.finished_transcripts",
        lambda session, day, *, after: page(session, day, after=after, limit=1),
    )
    batch_id, _ = order.batch("say:a b c", "say:d e", "say:f g")
    materialise(batch_id)
    _, frame = tables(today())
    assert sorted(frame.word) == list("abcdefg")
    written = pq.ParquetFile(io.BytesIO(store.get_bytes(table_key("transcript_words", today()))))
    assert written.num_row_groups >= 4


def test_a_transcript_deleted_since_is_left_out_and_counted(
    order: Order, materialise: Materialise, tables: Tables, store: ObjectStore, database: Database
) -> None:
    batch_id, _ = order.batch("say:stays here", "say:goes away now")
    materialise(batch_id)
    with database.session() as session:
        gone = session.scalar(text("SELECT object_key FROM artifacts ORDER BY created_at LIMIT 1"))
    store.delete(gone)
    result, frame = tables(today())
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["transcripts_missing"].value == 1
    assert frame.job_id.nunique() == 1
