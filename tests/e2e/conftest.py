"""One platform for the tests that share it: started by `audiomill up` on free ports, stopped at the end.

Tests that use it belong to the xdist group `platform`: with `--dist loadgroup` all run in one worker. Without it each
worker that needs a platform has its own, on its own ports and data.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from audiomill.database.connection import Database
from audiomill.jobs.queries import JobView, get_job
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.operators.key import bearer
from audiomill.platform.processes import free_ports, platform_processes
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.factory import open_store
from audiomill.storage.keys import upload_key
from tests.fakes.recordings import pcm16, tone, wav
from tests.fakes.scripted_engine import NAME, SETTING

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = "default"
READY_SECONDS = 180.0
ENDED = {"complete", "failed", "cancelled"}


def wait_until(reached: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again; fails with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


@dataclass(frozen=True)
class RunningPlatform:
    """A platform, its database and store as tests look at them, and Dagster's GraphQL."""

    settings: Settings
    database: Database
    store: ObjectStore
    dagster_url: str
    api_url: str

    def order(self, *scripts: str) -> tuple[str, ...]:
        """Order a recording of the scripted engine per script; returns the job ids."""
        jobs = []
        for script in scripts:
            key = upload_key(WORKSPACE, uuid.uuid4().hex)
            sound = recording()
            self.store.put_bytes(key, sound, media_type="audio/wav")
            given = InputObject(key, self.store.version(key), len(sound), "a.wav")
            jobs.append(NewJob("transcribe", {"engine": NAME, "initial_prompt": script}, given))
        with self.database.session() as session:
            return submit(
                session,
                workspace_id=WORKSPACE,
                source="operator",
                idempotency_key=uuid.uuid4().hex,
                jobs=jobs,
                settings=self.settings,
            ).job_ids

    def jobs(self, job_ids: tuple[str, ...]) -> list[JobView]:
        """As they are now."""
        with self.database.session() as session:
            return [get_job(session, None, job_id) for job_id in job_ids]

    def wait_for_end(self, job_ids: tuple[str, ...], seconds: float = 120) -> list[JobView]:
        """Until every job ended."""
        wait_until(lambda: all(job.state in ENDED for job in self.jobs(job_ids)), seconds, "all jobs ended")
        return self.jobs(job_ids)

    def run_of(self, job_id: str) -> str:
        """The Dagster run that works on a job, once one does."""
        wait_until(lambda: self.jobs((job_id,))[0].state == "running", 90, "the job is worked on")
        run_id = self.jobs((job_id,))[0].run_id
        assert run_id is not None
        return run_id

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """What Dagster's UI asks. Fails on errors."""
        answer = httpx.post(
            f"{self.dagster_url}/graphql",
            json={"query": query, "variables": variables},
            headers=bearer(self.settings),
            timeout=60,
        )
        body = answer.json()
        assert not body.get("errors"), body
        return dict(body["data"])

    def run_status(self, run_id: str) -> str:
        """Dagster's word for it."""
        found = self.graphql("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
        return str(found["runOrError"]["status"])

    def worker_of(self, run_id: str) -> psutil.Process:
        """The operating system's process of a run: the code server's child that works for it."""
        query = """
        query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
          ... on MessageEvent { message } } } } }
        """
        events = self.graphql(query, id=run_id)["logsForRun"]["events"]
        (pid,) = {
            int(event["message"].rsplit("(pid: ", 1)[1].split(")")[0])
            for event in events
            if "(pid: " in event.get("message", "")
        }
        process = psutil.Process(pid)
        assert process in platform_processes(self.settings.data_dir)
        return process


def recording() -> bytes:
    """A second of sound that no other recording equals."""
    return wav(pcm16(tone(1.0, hz=200 + uuid.uuid4().int % 5000 / 2)))


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """`audiomill up` with the scripted engine beside the real ones."""
    # Not below pytest's folder: PostgreSQL's own user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="audiomill-e2e-"))
    api, webserver = free_ports(2)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AUDIOMILL_")},
        "PYTHONPATH": str(ROOT),
        "AUDIOMILL_DATA_DIR": str(folder / "data"),
        "AUDIOMILL_API__PORT": str(api),
        "AUDIOMILL_DAGSTER__PORT": str(webserver),
        "AUDIOMILL_ENGINES__FETCH_DEFAULT_WEIGHTS": "false",
        "AUDIOMILL_ENGINES__EXTRA": json.dumps([SETTING]),
        "AUDIOMILL_BATCHING__MAX_WAIT_SECONDS": "2",
        # What is lost is found in seconds, not in minutes.
        "AUDIOMILL_LEASE__TTL_SECONDS": "15",
        "AUDIOMILL_LEASE__SWEEP_SECONDS": "5",
        "AUDIOMILL_LEASE__GRACE_SECONDS": "3",
        "AUDIOMILL_LEASE__PAUSE_SECONDS": "1",
        # Ten hours of sound are as easily refused as ten minutes, but not as fast.
        "AUDIOMILL_LIMITS__MAX_SECONDS": "600",
    }
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "audiomill.cli.main", "up"],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    settings = Settings(
        data_dir=folder / "data", engines={"extra": [SETTING]}, api={"port": api}, dagster={"port": webserver}
    )
    database: Database | None = None
    try:
        wait_until(lambda: "Ready." in log.read_text() or process.poll() is not None, READY_SECONDS, log.read_text())
        assert process.poll() is None, log.read_text()
        database = Database.from_settings(settings)
        yield RunningPlatform(
            settings, database, open_store(settings), f"http://127.0.0.1:{webserver}", f"http://127.0.0.1:{api}"
        )
    finally:
        if database is not None:
            database.dispose()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=180)
        shutil.rmtree(folder, ignore_errors=True)
