"""A batch from claim to close: what is done, what Dagster is told, and what it must never hear."""

import io
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance, Definitions
from PIL import Image

from audiomill.audio import Audio
from audiomill.database.connection import Database
from audiomill.engines.protocol import Usage
from audiomill.formats import RECEIPT_SUFFIX, media_type_of
from audiomill.jobs.queries import BatchRow, get_batch, get_job
from audiomill.storage import ObjectStore
from audiomill.storage.keys import batch_key
from audiomill.transcripts import Transcript
from ops.batch_report import failed_by_us
from ops.close import OUR_FAULTS_LIMIT
from tests.fakes.recordings import pcm16, tone, wav
from tests.fakes.scripted_engine import SEED, Scripted
from tests.pipeline.conftest import Materialise, Order, states
from tests.pipeline.test_sensors_mend import status_tick

TELLING = "divorce-of-jane-doe"


def metadata(result: object) -> dict[str, object]:
    (event,) = result.get_asset_materialization_events()  # type: ignore[attr-defined]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_batch_is_worked_off_and_reported(database: Database, order: Order, materialise: Materialise) -> None:
    batch_id, jobs = order.batch("say:hello there", "refuse", "say:good bye")
    result = materialise(batch_id)
    assert result.success
    assert states(database, jobs) == ["complete", "failed", "complete"]
    told = metadata(result)
    assert (told["jobs"], told["complete"], told["failed"], told["cancelled"]) == (3, 2, 1, 0)
    assert told["failed_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert told["audio_seconds"] == pytest.approx(2.0)
    assert told["real_time_factor"] == pytest.approx(told["engine_seconds"] / 2.0, abs=6e-3)
    with database.session() as session:
        assert get_batch(session, batch_id).state == "closed"


def test_the_table_has_a_line_a_job_failed_ones_first(order: Order, materialise: Materialise) -> None:
    batch_id, jobs = order.batch("say:hello there", "refuse")
    result = materialise(batch_id)
    (event,) = result.get_asset_materialization_events()
    records = [record.data for record in event.materialization.metadata["table"].records]
    assert [(record["job"], record["state"]) for record in records] == [(jobs[1], "failed"), (jobs[0], "complete")]
    assert [(record["step"], record["revision"]) for record in records] == [("transcribe", 1)] * 2
    assert records[0]["failure_code"] == "no_speech"
    assert records[1]["attempts"] == 1
    assert records[1]["audio_seconds"] == pytest.approx(1.0)
    assert records[1]["engine_seconds"] >= 0


def test_picture_and_manifest_are_there(
    database: Database, store: ObjectStore, order: Order, materialise: Materialise
) -> None:
    batch_id, jobs = order.batch("say:hello there", "refuse")
    told = metadata(materialise(batch_id))
    with database.session() as session:
        batch = get_batch(session, batch_id)
    picture = store.get_bytes(batch_key(batch_id, batch.fencing, "waveforms.png"))
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    manifest = json.loads(store.get_bytes(batch_key(batch_id, batch.fencing, "manifest.json")))
    assert (manifest["batch"], manifest["engine"], manifest["run"]) == (batch_id, "scripted", batch.run_id)
    complete, failed = sorted(manifest["jobs"], key=lambda job: job["state"])
    assert (complete["job_id"], failed["job_id"], failed["failure_code"]) == (*jobs, "no_speech")
    assert len(complete["input_sha256"]) == 64
    names = {output["name"] for output in complete["outputs"]}
    assert {"transcript.txt", "transcript.txt.receipt.json"} <= names
    for name in ("picture", "manifest"):
        assert httpx.URL(told[name]).path


def test_the_receipt_says_what_the_store_and_the_job_say(
    database: Database, store: ObjectStore, order: Order, materialise: Materialise
) -> None:
    batch_id, (job_id,) = order.batch("say:hello there")
    assert materialise(batch_id).success
    with database.session() as session:
        outputs = {output.name: output for output in get_job(session, None, job_id).outputs}
    for name in (f"transcript.{ending}" for ending in ("txt", "srt", "vtt", "tsv", "json")):
        receipt = json.loads(store.get_bytes(outputs[name + RECEIPT_SUFFIX].object_key))["receipt"]
        token = store.signed_get(outputs[name].object_key, seconds=60).url.rpartition("/")[2]
        served = store.open_token(token, "GET").media_type  # type: ignore[attr-defined]  # the local store's
        assert receipt["output"]["media_type"] == outputs[name].media_type == served == media_type_of(name)
        assert receipt["seed"] == SEED
        checks = [check["name"] for check in receipt["checks"]]
        assert len(set(checks)) == len(checks) > 3


def test_a_batch_without_sound_still_gets_a_picture(
    database: Database, store: ObjectStore, order: Order, materialise: Materialise
) -> None:
    batch_id, _ = order.batch("refuse")
    materialise(batch_id)
    with database.session() as session:
        fencing = get_batch(session, batch_id).fencing
    assert Image.open(io.BytesIO(store.get_bytes(batch_key(batch_id, fencing, "waveforms.png")))).format == "PNG"


CHECKS = [
    (("say:a b",), True, "WARN"),
    (("say:a b", "refuse", "refuse"), False, "WARN"),
    (("say:a b", "break"), False, "ERROR"),
]


@pytest.mark.parametrize(("scripts", "passed", "severity"), CHECKS)
def test_the_check_speaks_of_its_batch(
    order: Order, materialise: Materialise, scripts: tuple[str, ...], passed: bool, severity: str
) -> None:
    batch_id, _ = order.batch(*scripts)
    (evaluation,) = materialise(batch_id).get_asset_check_evaluations()
    assert evaluation.asset_check_key == AssetCheckKey(AssetKey("transcripts"), "failed_share")
    assert (evaluation.passed, evaluation.severity.value, evaluation.partition) == (passed, severity, batch_id)
    assert evaluation.metadata["failed"].value == sum(not script.startswith("say") for script in scripts)


def test_one_file_of_many_that_breaks_an_engine_is_no_alarm() -> None:
    fine = [BatchRow("job", "acme", "complete", 1.0, 0.1, 1, None)] * 19
    broken = [BatchRow("job", "acme", "failed", 1.0, None, 3, "engine_crashed")]
    refused = [BatchRow("job", "acme", "failed", 1.0, None, 1, "no_speech")]
    assert failed_by_us([*fine, *broken]) <= OUR_FAULTS_LIMIT < failed_by_us([*fine[1:], *broken])
    assert failed_by_us(refused) == failed_by_us([]) == 0


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        (("refuse", "refuse"), "2 no_speech. The reason lies in the files"),
        (("refuse", "refuse", "break"), "2 no_speech, 1 engine_crashed. Some of it is for us to mend."),
    ],
)
def test_a_batch_of_which_nothing_came_through_is_red(
    database: Database,
    order: Order,
    materialise: Materialise,
    definitions: Definitions,
    instance: DagsterInstance,
    scripts: tuple[str, ...],
    said: str,
) -> None:
    batch_id, jobs = order.batch(*scripts)
    result = materialise(batch_id)
    assert not result.success
    assert not result.get_asset_materialization_events()
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert said in failure.step_failure_data.user_failure_data.description
    told = failure.step_failure_data.user_failure_data.metadata
    assert (told["failed"].value, told["complete"].value) == (len(scripts), 0)
    assert len(told["table"].records) == len(scripts)
    (end,) = [event for event in result.all_events if event.is_run_failure]
    status_tick(definitions, instance, "run_failure", result.run_id, end)
    with database.session() as session:
        assert get_batch(session, batch_id).state == "closed", "recovery takes it for no crash"
    assert states(database, jobs) == ["failed"] * len(scripts)


def test_calls_side_by_side_are_not_added_up(
    order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls that wait for each other last as long as both: together they are that once."""
    meeting = threading.Barrier(2)

    def meet(self: Scripted, audios: Sequence[Audio], *_: object) -> list[Transcript]:
        meeting.wait(60)
        time.sleep(0.5)
        return [self._one(audio, "say:hello there") for audio in audios]

    monkeypatch.setattr(Scripted, "usage", Usage(group_items=1, group_seconds=3600, parallel_calls=2))
    monkeypatch.setattr(Scripted, "transcribe", meet)
    batch_id, _ = order.batch("say:a", "say:b")
    began = time.monotonic()
    told = metadata(materialise(batch_id))
    assert 0.5 <= told["engine_seconds"] + 0.01 < time.monotonic() - began
    records = told["engine_seconds"], told["real_time_factor"], told["audio_seconds"]
    assert records[1] == pytest.approx(records[0] / records[2], rel=0.02)


def test_what_was_there_already_makes_no_engine_look_fast(order: Order, materialise: Materialise) -> None:
    sound = wav(pcm16(tone(1.0, hz=333)))
    first, _ = order.batch("say:hello there", data=sound)
    assert metadata(materialise(first))["recalled"] == 0
    second, _ = order.batch("say:hello there", data=sound)
    told = metadata(materialise(second))
    assert (told["recalled"], told["engine_seconds"], told["audio_seconds"]) == (1, 0.0, 1.0)
    assert "real_time_factor" not in told


def test_a_run_is_found_from_its_batch_however_it_was_started(
    order: Order, materialise: Materialise, instance: DagsterInstance
) -> None:
    batch_id, _ = order.batch("say:a b")
    result = materialise(batch_id, {"audiomill/batch": "of the parent"})
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["audiomill/batch"] == batch_id
    assert run.tags["audiomill/resource_class"] == "cpu"


def test_no_customers_content_reaches_dagster(
    database: Database, order: Order, materialise: Materialise, instance: DagsterInstance
) -> None:
    scripts = (f"say:{TELLING} said so", "refuse", "break", f"say:{TELLING} again")
    batch_id, jobs = order.batch(*scripts, filename=f"{TELLING}.wav")
    (broken_id,) = order("say:x", filename=f"{TELLING}.wav", data=TELLING.encode() * 50)
    result = materialise(batch_id)
    assert result.success
    with database.session() as session:
        from audiomill.jobs.batches.forming import form_batches

        (second,) = form_batches(session, order.settings)
    again = materialise(second)
    assert states(database, [*jobs, broken_id]) == ["complete", "failed", "failed", "complete", "failed"]
    for each in (result, again):
        records = instance.all_logs(each.run_id)
        assert len(records) > 10
        assert not [record for record in records if TELLING in record.to_json()]
        run = instance.get_run_by_id(each.run_id)
        assert TELLING not in str(run)


def test_nothing_is_left_in_dagsters_storage(
    order: Order, definitions: Definitions, tmp_path: Path, database: Database
) -> None:
    batch_id, _ = order.batch("say:hello there")
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("transcript_batches", [batch_id])
        job = definitions.resolve_job_def("transcripts_cpu")
        assert job.execute_in_process(instance=instance, partition_key=batch_id).success
        storage = Path(instance.storage_directory())
        assert not [path for path in storage.rglob("*") if path.is_file() and "transcripts" in str(path)]


def test_the_materialisation_carries_the_code_version(
    order: Order, materialise: Materialise, instance: DagsterInstance
) -> None:
    batch_id, _ = order.batch("say:hello there")
    materialise(batch_id)
    (record,) = instance.fetch_materializations(AssetKey("transcripts"), limit=1).records
    assert record.asset_materialization is not None
    assert record.asset_materialization.tags["dagster/code_version"] == "1"
    assert record.partition_key == batch_id
