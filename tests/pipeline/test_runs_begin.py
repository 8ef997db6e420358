"""What a run does before its first item is done: nothing that could have been done before, or beside it."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, Definitions

from assets.batch_products import partitions_name
from assets.jobs import job_name
from audiomill.audio import encode
from audiomill.audio.decoders import Decoders
from audiomill.catalogue.stages import STAGES
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.database.connection import Database
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_batch
from audiomill.platform.instance import DATABASE_VARIABLE, database_variable, write_instance
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from tests.fakes.scripted_engine import Scripted
from tests.pipeline.conftest import Materialise, Order, states
from tests.pipeline.milling import Mill

ROOT = Path(__file__).resolve().parents[2]

LEFT_TO_RUNS = {"onnxruntime"}
"""A package that runs import themselves: it starts a thread, which no forked process would have."""

OF_THIS_TEST = {
    "tests",
    "tests.fakes",
    "tests.fakes.scripted_engine",
    "dagster._core.execution.execute_in_process",
    "dagster._core.storage.migration",  # the first process of a new database makes the tables
    "dagster._core.storage.migration.utils",
}

RUN = """if True:
    import json, sys
    import resources.fork_server
    before = set(sys.modules)
    from dagster import DagsterInstance
    import definitions
    partitions, batch_id, job = sys.argv[1:]
    with DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(partitions, [batch_id])
        done = definitions.defs.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=batch_id, raise_on_error=False)
    print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("recipe", ["transcribe", "synthesize"])
def test_a_forked_run_finds_its_modules_imported(
    database: Database,
    store: ObjectStore,
    settings: Settings,
    instance: DagsterInstance,
    definitions: Definitions,
    tmp_path: Path,
    recipe: str,
) -> None:
    text = "please close the door and open the window"
    espeak = Espeak(model_store=tmp_path, budget=CoreBudget(tmp_path, 1))
    [speech] = espeak.synthesize([text], SynthesizeParameters())
    given = {"transcribe": encode(speech.audio, "wav").data, "synthesize": text.encode()}[recipe]
    (job_id,) = Mill(database, store, settings, definitions, instance).order([given], recipe, language="en")
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
        batch = get_batch(session, batch_id)
    stage = STAGES[batch.stage]
    command = [partitions_name(stage), batch_id, job_name(stage, batch.resource_class)]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DAGSTER_HOME": str(write_instance(settings)),
            "AUDIOMILL_DATA_DIR": str(settings.data_dir),
            "AUDIOMILL_DATABASE__URL": settings.database.url or "",
            "AUDIOMILL_DATABASE__DAGSTER_URL": settings.database.dagster_url or "",
            DATABASE_VARIABLE: database_variable(settings.database.dagster_url or ""),
        },
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert states(database, [job_id]) == ["complete"]
    imported = json.loads(done.stdout.splitlines()[-1])
    late = {name for name in imported if name.partition(".")[0] not in LEFT_TO_RUNS | set(sys.stdlib_module_names)}
    assert late - OF_THIS_TEST == set()


def test_the_first_file_finds_a_decoding_process_that_was_started_beside_the_engine(
    order: Order, materialise: Materialise, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, while_loading = Decoders(), []
    monkeypatch.setattr("ops.work.decoders", lambda: pool)
    monkeypatch.setattr(import_module("audiomill.audio.decode"), "decoders", lambda: pool)

    def load(*_: object) -> None:
        deadline = time.monotonic() + 60
        while not pool.pids() and time.monotonic() < deadline:
            time.sleep(0.05)
        while_loading.extend(pool.pids())

    monkeypatch.setattr(Scripted, "load", load)
    batch_id, jobs = order.batch("say:hello there")
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete"]
    assert len(while_loading) == 1
    assert pool.pids() == while_loading
    pool.close()
    assert not psutil.pid_exists(while_loading[0])


def test_texts_start_no_decoding_process(
    database: Database,
    store: ObjectStore,
    settings: Settings,
    instance: DagsterInstance,
    definitions: Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[object] = []
    monkeypatch.setattr("ops.work.decoders", lambda: begun.append("one"))
    mill = Mill(database, store, settings, definitions, instance)
    (job_id,) = mill.order([b"Good morning."], "synthesize")
    mill.work()
    assert (mill.job(job_id).state, begun) == ("complete", [])
