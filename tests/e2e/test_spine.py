"""The whole platform: a recording dropped in comes out as a transcript, whatever happens on the way."""

import json
from collections import Counter

import pytest
from sqlalchemy import text

from audiomill.jobs.queries import get_batch
from tests.e2e.conftest import WORKSPACE, RunningPlatform, recording, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("platform")]

LAUNCH = """
mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
AGAIN = """
mutation($params: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
TERMINATE = """
mutation($id: String!) { terminateRun(runId: $id) { __typename } }
"""


def outputs_once(platform: RunningPlatform, job_ids: tuple[str, ...]) -> None:
    """Every output of every job exists exactly once."""
    for job in platform.jobs(job_ids):
        with platform.database.session() as session:
            rows = session.execute(text("SELECT name FROM outputs WHERE job_id = :id"), {"id": job.id})
            names = Counter(row.name for row in rows)
        assert names, job
        assert set(names.values()) == {1}, names


def finished(platform: RunningPlatform, run_id: str, *, seconds: float = 120) -> str:
    wait_until(lambda: platform.run_status(run_id) in {"SUCCESS", "FAILURE", "CANCELED"}, seconds, f"{run_id} ended")
    return platform.run_status(run_id)


def test_a_recording_dropped_in_comes_out_as_a_transcript(platform: RunningPlatform) -> None:
    name = f"drop {WORKSPACE} 🎙.wav"
    platform.store.put_bytes(f"inbox/{WORKSPACE}/transcribe/{name}", recording())

    def dropped() -> tuple[str, ...]:
        with platform.database.session() as session:
            rows = session.execute(
                text("SELECT jobs.id FROM jobs JOIN recordings r ON r.id = recording_id WHERE object_key LIKE :key"),
                {"key": "inbox/%drop%"},
            )
            return tuple(row.id for row in rows)

    wait_until(lambda: len(dropped()) == 1, 60, "the drop became a job")
    (job,) = platform.wait_for_end(dropped())
    assert (job.state, job.failure_reason, job.filename) == ("complete", None, name)
    names = {output.name for output in job.outputs}
    assert {f"transcript.{form}" for form in ("txt", "srt", "vtt", "tsv", "json")} <= names
    assert {f"{each}.receipt.json" for each in names if not each.endswith(".receipt.json")} <= names
    spoken = next(output for output in job.outputs if output.name == "transcript.txt")
    assert b"hello there" in platform.store.get_bytes(spoken.object_key)
    # The run is found from the job, and its materialisation from the run.
    assert job.run_id is not None
    assert finished(platform, job.run_id) == "SUCCESS"
    query = """query($key: AssetKeyInput!, $partition: [String!]) { assetOrError(assetKey: $key) { ... on Asset {
      assetMaterializations(limit: 1, partitions: $partition) { runId metadataEntries { label } } } } }"""
    asset = platform.graphql(query, key={"path": ["transcripts"]}, partition=[job.batch_id])["assetOrError"]
    (materialisation,) = asset["assetMaterializations"]
    assert materialisation["runId"] == job.run_id
    assert {"table", "picture", "manifest", "failed_share"} <= {
        entry["label"] for entry in materialisation["metadataEntries"]
    }


def test_a_worker_killed_in_mid_batch_every_item_ends_once(platform: RunningPlatform) -> None:
    jobs = platform.order(*["wait:0.5"] * 12)
    wait_until(
        lambda: Counter(job.state for job in platform.jobs(jobs))["complete"] >= 3, 120, "three of twelve are complete"
    )
    before = {job.id for job in platform.jobs(jobs) if job.state == "complete"}
    assert len(before) < 12, "the batch was over before it could be killed"
    victim = next(job for job in platform.jobs(jobs) if job.state == "running")
    assert victim.run_id is not None
    platform.worker_of(victim.run_id).kill()
    ended = platform.wait_for_end(jobs, 240)
    assert Counter(job.state for job in ended) == {"complete": 12}
    assert all(job.attempts == 1 for job in ended if job.id in before)
    outputs_once(platform, jobs)
    assert finished(platform, victim.run_id) == "FAILURE"


def test_a_run_cancelled_its_items_run_in_another_batch(platform: RunningPlatform) -> None:
    jobs = platform.order(*["wait:0.5"] * 12)
    wait_until(
        lambda: Counter(job.state for job in platform.jobs(jobs))["complete"] >= 2, 120, "two of twelve are complete"
    )
    victim = next(job for job in platform.jobs(jobs) if job.state == "running")
    assert victim.run_id is not None
    assert platform.graphql(TERMINATE, id=victim.run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    assert finished(platform, victim.run_id) == "CANCELED"
    ended = platform.wait_for_end(jobs, 240)
    assert Counter(job.state for job in ended) == {"complete": 12}
    outputs_once(platform, jobs)
    assert victim.batch_id is not None
    with platform.database.session() as session:
        batch = get_batch(session, victim.batch_id)
    assert batch.state == "cancelled"
    assert sum(job.batch_id == batch.id for job in ended) < batch.item_count, "none went to another batch"


def test_materialised_and_re_executed_nothing_is_made_twice(platform: RunningPlatform) -> None:
    jobs = platform.order("say:well done", "refuse")
    first = platform.wait_for_end(jobs)
    assert [job.state for job in first] == ["complete", "failed"]
    batch_id, run_id = first[0].batch_id, first[0].run_id
    assert batch_id is not None
    assert run_id is not None
    assert finished(platform, run_id) == "SUCCESS"
    with platform.database.session() as session:
        session.execute(
            text("UPDATE work_items SET options = options || CAST(:mended AS jsonb) WHERE job_id = :id"),
            {"id": jobs[1], "mended": json.dumps({"initial_prompt": "say:mended"})},
        )
    params = {
        "selector": {
            "repositoryLocationName": "audiomill",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": ["transcripts"]}],
            "assetCheckSelection": [{"assetKey": {"path": ["transcripts"]}, "name": "failed_share"}],
        },
        "mode": "default",
        "runConfigData": "{}",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": batch_id}]},
    }
    launched = platform.graphql(LAUNCH, params=params)["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assert finished(platform, launched["run"]["runId"]) == "SUCCESS"
    assert [job.state for job in platform.jobs(jobs)] == ["complete", "complete"]
    outputs_once(platform, jobs)
    # Once more, as the UI's "re-execute" does: the parent's tags are copied, and there is nothing left to do.
    params = {"parentRunId": run_id, "strategy": "ALL_STEPS"}
    launched = platform.graphql(AGAIN, params=params)["launchPipelineReexecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assert finished(platform, launched["run"]["runId"]) == "SUCCESS"
    outputs_once(platform, jobs)
    assert [job.attempts for job in platform.jobs(jobs)] == [1, 2]


def test_nothing_is_left_in_dagsters_storage(platform: RunningPlatform) -> None:
    platform.wait_for_end(platform.order("say:a b"))
    home = platform.settings.data_dir / "dagster"
    left = [path for path in (home / "storage").rglob("*") if path.is_file()] if (home / "storage").exists() else []
    assert left == []
