"""A code server that restarts while a run is dequeued: Dagster's own queue, as `audiomill up` configures it."""

import time
import uuid
from pathlib import Path

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from audiomill.platform.instance import DATABASE_VARIABLE, database_variable, write_instance
from audiomill.platform.sockets import code_server_socket
from audiomill.settings import Settings
from resources.dagster_pool import dispose_pools

RESTART_SECONDS = 240
"""A deploy that takes its time."""


def queued(instance: DagsterInstance, settings: Settings) -> str:
    """A run of the code location that dagster's workspace names."""
    location = GrpcServerCodeLocationOrigin(
        host="localhost", socket=str(code_server_socket(settings.data_dir)), location_name="audiomill"
    )
    run = DagsterRun(
        job_name="transcripts_cpu",
        run_id=str(uuid.uuid4()),
        status=DagsterRunStatus.QUEUED,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "transcripts_cpu"),
    )
    instance.add_run(run)
    instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run.run_id)
    return run.run_id


@pytest.mark.filterwarnings("ignore:Error loading repository location")
def test_a_run_stays_in_the_queue(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, database_variable(settings.database.dagster_url or ""))
    home: Path = write_instance(settings)
    with (
        DagsterInstance.from_config(str(home)) as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(home / "workspace.yaml")])) as workspace,
        QueuedRunCoordinatorDaemon(interval_seconds=5) as daemon,
    ):
        run_id = queued(instance, settings)
        for second in range(0, RESTART_SECONDS, 5):
            list(daemon.run_iteration(workspace, fixed_iteration_time=time.time() + second))
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status == DagsterRunStatus.QUEUED
        # It was tried meanwhile, and not at every look.
        tried = instance.get_records_for_run(run_id, of_type=DagsterEventType.PIPELINE_STARTING).records
        assert RESTART_SECONDS / 20 <= len(tried) <= RESTART_SECONDS / 10 + 1
    dispose_pools()
