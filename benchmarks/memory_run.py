"""One job in this process, without Dagster: what `benchmarks.memory` watches. Nothing is measured here."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiomill.accounts.workspaces import ensure_workspace
from audiomill.audio.decoders import decoders
from audiomill.database.connection import Database
from audiomill.database.embedded import ensure_server
from audiomill.database.migrate import upgrade
from audiomill.engines.lifetime import Models
from audiomill.engines.registry import available, entry_named
from audiomill.jobs.availability import report
from audiomill.jobs.batches import leases
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_batch, get_job
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.milling.bench import Bench
from audiomill.milling.stream import work_off
from audiomill.milling.writer import BatchWriter
from audiomill.receipts import signing_key
from audiomill.scratch import run_scratch
from audiomill.settings import Settings
from audiomill.stages import STAGE_WORK
from audiomill.storage import ObjectStore
from audiomill.storage.factory import open_store
from audiomill.storage.keys import upload_key

WORKSPACE = "acme"
PARAMETERS: dict[str, dict[str, Any]] = {
    "transcribe": {"engine": "pocketsphinx"},
    "synthesize": {"engine": "espeak-ng"},
    "dub": {
        "target_language": "de",
        "transcript": False,
        "engines": {"separate": "rnnoise", "speak": "espeak-ng"},
    },
}
NAMES = {"transcribe": "recording.wav", "synthesize": "text.txt", "dub": "recording.wav"}
BESIDE = {"dub": {"subtitles": "subtitles.srt"}}
"""Further inputs by role, and what they are called; they lie beside the first one under the role's name."""


@contextmanager
def prepared(capability: str, content: Path, folder: Path) -> Iterator[Callable[[], None]]:
    """An installation in `folder` with one job of `content` ordered. What is given works it off."""
    settings = Settings(data_dir=folder / "data", quality={"least_confidence": 0.0})
    server = ensure_server(settings)
    database = Database.from_settings(settings)
    store = open_store(settings)
    try:
        upgrade(database.engine)
        given = _put(store, content, NAMES[capability])
        others = tuple(
            (role, _put(store, content.with_name(role), name)) for role, name in BESIDE.get(capability, {}).items()
        )
        with database.session() as session:
            ensure_workspace(session, WORKSPACE)
            report(session, worker="benchmark", rows=available(settings))
        with database.session() as session:
            (job_id,) = submit(
                session,
                workspace_id=WORKSPACE,
                source="api",
                idempotency_key=uuid.uuid4().hex,
                jobs=[NewJob(capability, PARAMETERS[capability], given, others=others)],
                settings=settings,
            ).job_ids
        yield lambda: _worked_off(database, store, settings, job_id)
    finally:
        decoders().close()
        database.dispose()
        server.stop()


def _put(store: ObjectStore, path: Path, name: str) -> InputObject:
    key = upload_key(WORKSPACE, uuid.uuid4().hex)
    store.put_file(key, path)
    return InputObject(key, store.version(key), path.stat().st_size, name)


def _worked_off(database: Database, store: ObjectStore, settings: Settings, job_id: str) -> None:
    """All batches of the job, as they can be formed: a step's when what it reads is there."""
    while True:
        with database.session() as session:
            batch_ids = form_batches(session, settings)
        for batch_id in batch_ids:
            _run(database, store, settings, batch_id)
        with database.session() as session:
            job = get_job(session, None, job_id)
        if job.state == "complete":
            return
        if not batch_ids or job.state not in {"queued", "running"}:
            raise RuntimeError(f"the job is {job.state}: {job.failure_code} {job.failure_reason}")


def _run(database: Database, store: ObjectStore, settings: Settings, batch_id: str) -> None:
    with database.session() as session:
        stage = get_batch(session, batch_id).stage
    with database.session() as session:
        claim = leases.claim(session, batch_id=batch_id, stage=stage, run_id="benchmark", settings=settings)
    models, entry = Models(settings), entry_named(claim.engine, settings)
    with (
        BatchWriter(database, claim, settings) as writer,
        run_scratch(settings.data_dir, "benchmark") as scratch,
        models.use(entry, claim.model, "cpu") as engine,
    ):
        bench = Bench(engine, store, signing_key(settings), settings, writer)
        work_off(claim, STAGE_WORK[stage](bench), engine, writer, scratch)
        writer.close()
