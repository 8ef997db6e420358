"""Dagster in process: the real definitions, an ephemeral instance, the module's own database and store."""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions, ExecuteInProcessResult

from audiomill.database.connection import Database
from audiomill.database.tables import Workspace
from audiomill.engines.registry import available
from audiomill.jobs.availability import report
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.settings import Settings, get_settings
from audiomill.storage import ObjectStore
from audiomill.storage.keys import upload_key
from tests.fakes import orders
from tests.fakes.orders import wipe
from tests.fakes.recordings import pcm16, tone, wav
from tests.fakes.scripted_engine import NAME, SETTING

WORKSPACE = "acme"


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """The installation's settings with the scripted engine in front of all others."""
    return settings.model_copy(update={"engines": settings.engines.model_copy(update={"extra": [SETTING]})})


@pytest.fixture(scope="module")
def definitions(settings: Settings) -> Iterator[Definitions]:
    """The definitions as the code server has them: settings from the environment."""
    from definitions import defs
    from resources.database import dispose_databases

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUDIOMILL_DATA_DIR", str(settings.data_dir))
        environment.setenv("AUDIOMILL_DATABASE__URL", settings.database.url or "")
        environment.setenv("AUDIOMILL_DATABASE__DAGSTER_URL", settings.database.dagster_url or "")
        environment.setenv("AUDIOMILL_ENGINES__EXTRA", json.dumps(settings.engines.extra))
        environment.setenv("AUDIOMILL_INBOX__SETTLE_SECONDS", "0")
        # Ticks by hand do not wait; test_sensors_wait.py has those that do.
        environment.setenv("AUDIOMILL_DAGSTER__TICK_WAIT_SECONDS", "0")
        get_settings.cache_clear()
        yield defs
    get_settings.cache_clear()
    dispose_databases()


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """A Dagster instance in memory."""
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def _empty(database: Database, settings: Settings) -> None:
    """Nothing ordered; one workspace; this machine's engines reported."""
    wipe(database)
    with database.session() as session:
        session.merge(Workspace(id=WORKSPACE, name=WORKSPACE))
        report(session, worker="test", rows=available(settings))


@dataclass(frozen=True)
class Order:
    """Orders recordings of the scripted engine, a script each."""

    database: Database
    store: ObjectStore
    settings: Settings

    def __call__(self, *scripts: str, filename: str = "a.wav", data: bytes | None = None) -> tuple[str, ...]:
        """Submit; returns the job ids."""
        jobs = [self._job(script, filename, data) for script in scripts]
        return orders.order(self.database, self.settings, WORKSPACE, jobs).job_ids

    def batch(self, *scripts: str, **given: Any) -> tuple[str, tuple[str, ...]]:
        """Submit and form one batch of it; returns its id and the job ids."""
        job_ids = self(*scripts, **given)
        with self.database.session() as session:
            (batch_id,) = form_batches(session, self.settings)
        return batch_id, job_ids

    def _job(self, script: str, filename: str, data: bytes | None) -> NewJob:
        key = upload_key(WORKSPACE, uuid.uuid4().hex)
        # Other bytes for each, or the second would find the first one's artifact.
        sound = data if data is not None else wav(pcm16(tone(1.0, hz=200 + uuid.uuid4().int % 2000)))
        self.store.put_bytes(key, sound, media_type="audio/wav")
        given = InputObject(key, self.store.version(key), len(sound), filename)
        return NewJob("transcribe", {"engine": NAME, "initial_prompt": script}, given)


@pytest.fixture
def order(definitions: Definitions, database: Database, store: ObjectStore, settings: Settings) -> Order:
    """Orders of the scripted engine."""
    return Order(database, store, settings)


Materialise = Callable[[str], ExecuteInProcessResult]


@pytest.fixture
def materialise(definitions: Definitions, instance: DagsterInstance) -> Materialise:
    """Run a batch of transcripts as its job does; a failed run is returned, not raised."""

    def run(batch_id: str, tags: dict[str, str] | None = None) -> ExecuteInProcessResult:
        instance.add_dynamic_partitions("transcript_batches", [batch_id])
        job = definitions.resolve_job_def("transcripts_cpu")
        return job.execute_in_process(
            instance=instance, partition_key=batch_id, raise_on_error=False, tags=tags, run_id=str(uuid.uuid4())
        )

    return run


def states(database: Database, job_ids: Sequence[str]) -> list[str]:
    """The states of jobs, in the order asked."""
    from audiomill.jobs.queries import get_job

    with database.session() as session:
        return [get_job(session, None, job_id).state for job_id in job_ids]
