"""Units that are kept: a run that ended early costs what it had not done, a text that was edited what changed."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions
from sqlalchemy import select, text

from audiomill.accounts.space import space_of
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact
from audiomill.engines.protocol import Usage
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.errors import StorageUnavailable
from audiomill.jobs.batches.forming import form_batches
from audiomill.retention import schedule
from audiomill.retention.sweeping import Ground
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from tests.fakes.aged_store import AgedStore
from tests.fakes.orders import rested
from tests.pipeline.conftest import WORKSPACE
from tests.pipeline.milling import Mill

ONE_BY_ONE = Usage(group_items=1, group_seconds=600, parallel_calls=1)
BOOK = "".join(f"Chapter {number}. The weather was good, and nobody had said a word of it. " for number in range(90))


@pytest.fixture
def mill(
    database: Database, store: ObjectStore, settings: Settings, definitions: Definitions, instance: DagsterInstance
) -> Mill:
    return Mill(database, store, settings, definitions, instance)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What espeak-ng was asked for, a piece a call."""
    asked: list[str] = []
    synthesize: Callable[..., Any] = Espeak.synthesize

    def noted(engine: Espeak, texts: Sequence[str], *arguments: Any, **named: Any) -> Any:
        asked.extend(texts)
        return synthesize(engine, texts, *arguments, **named)

    monkeypatch.setattr(Espeak, "synthesize", noted)
    monkeypatch.setattr(Espeak, "usage", property(lambda _: ONE_BY_ONE))
    return asked


def kept(database: Database) -> list[Artifact]:
    with database.session() as session:
        return list(session.scalars(select(Artifact).where(Artifact.details["unit"].as_boolean())))


def test_a_book_whose_run_ended_early_costs_what_is_left(
    mill: Mill, database: Database, settings: Settings, spoken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mill.order([b"Once. " + BOOK.encode()], "synthesize", pitch=51)
    mill.work()
    pieces = len(spoken)
    assert pieces >= 4
    spoken.clear()
    (job,) = mill.order([b"Once. " + BOOK.encode()], "synthesize")
    with monkeypatch.context() as outage:
        outage.setattr(Espeak, "close", lambda _: None)
        breaking(outage, at=pieces - 1)
        with database.session() as session:
            (batch_id,) = form_batches(session, settings)
        run(mill, batch_id)
    assert mill.job(job).state == "queued"
    assert len(kept(database)) >= pieces - 2
    before = len(spoken)
    rested(database)
    mill.work()
    assert len(spoken) - before <= 2
    assert mill.job(job).state == "complete"
    spoken.clear()
    forget(database)
    (anew,) = mill.order([b"Once. " + BOOK.encode()], "synthesize")
    mill.work()
    assert len(spoken) == pieces
    assert mill.files(job)["speech.wav"] == mill.files(anew)["speech.wav"]


def test_units_of_a_workspace_are_counted_and_go_when_nobody_looks_for_them(
    mill: Mill, database: Database, store: ObjectStore, settings: Settings, spoken: list[str]
) -> None:
    mill.order([BOOK.encode()], "synthesize")
    mill.work()
    found = kept(database)
    assert found
    with database.session() as session:
        assert space_of(session, WORKSPACE, settings).kept_bytes >= sum(each.size_bytes or 0 for each in found)
        session.execute(text("UPDATE artifacts SET used_at = used_at - interval '1000 days'"))
    ground = Ground(database, AgedStore(store, days=1000), settings)
    chosen = [each for each in schedule.SWEEPS if each.name == "results that no job refers to"]
    assert [each.error for each in schedule.sweep(ground, seconds=60, sweeps=chosen)] == [None]
    assert kept(database) == []
    for each in found:
        with pytest.raises(Exception, match="no object"):
            store.stat(each.object_key)


def test_an_edited_text_costs_what_changed(mill: Mill, database: Database, spoken: list[str]) -> None:
    (first,) = mill.order([BOOK.encode()], "synthesize")
    mill.work()
    pieces = len(spoken)
    spoken.clear()
    (second,) = mill.order([BOOK.replace("Chapter 89", "Chapter 99").encode()], "synthesize")
    mill.work()
    assert len(spoken) < pieces
    assert mill.job(second).state == mill.job(first).state == "complete"


def forget(database: Database) -> None:
    """Nothing is known of earlier work."""
    with database.session() as session:
        session.execute(text("UPDATE artifacts SET key = 'gone-' || key"))


def breaking(outage: pytest.MonkeyPatch, *, at: int) -> None:
    """The store is away from the time when so many pieces were asked for."""
    synthesize: Callable[..., Any] = Espeak.synthesize
    asked: list[str] = []

    def away(engine: Espeak, texts: Sequence[str], *arguments: Any, **named: Any) -> Any:
        asked.extend(texts)
        if len(asked) > at:
            raise StorageUnavailable("Away.", code="scratch_unavailable")
        return synthesize(engine, texts, *arguments, **named)

    outage.setattr(Espeak, "synthesize", away)


def run(mill: Mill, batch_id: str) -> None:
    """A batch whose run breaks."""
    mill.instance.add_dynamic_partitions("speech_batches", [batch_id])
    job = mill.definitions.resolve_job_def("speech_cpu")
    done = job.execute_in_process(instance=mill.instance, partition_key=batch_id, raise_on_error=False)
    assert not done.success
