"""A whole platform to be ill-treated: `audiomill up` on an S3 store in a process of its own and a small scratch disk.

Here: starting it, finding its processes, ordering, asking what is left behind. The faults are in chaos_faults.py.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import httpx
import psutil
import psycopg

from audiomill.accounts.keys import create_key
from audiomill.database.connection import Database
from audiomill.database.embedded import data_directory, running_server
from audiomill.errors import OperatorError
from audiomill.jobs.batches.workers import RunProcess
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.platform.processes import free_ports, platform_processes
from audiomill.platform.readiness import program_states
from audiomill.platform.sockets import supervisor_socket
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.factory import open_store
from audiomill.storage.keys import upload_key
from tests.e2e.conftest import ROOT, WORKSPACE, recording, wait_until
from tests.fakes.scripted_engine import NAME, SETTING

BUCKET = "mill"
SCRATCH_BYTES = 24 * 1024**2
READY_SECONDS = 240.0
LIVE_RUNS = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING")


@dataclass(frozen=True)
class Chaotic:
    """A running platform. Every look into it may fail while something is down: `patiently` looks again."""

    settings: Settings
    store: ObjectStore
    store_server: psutil.Process
    key: str
    up: psutil.Process

    @property
    def scratch(self) -> Path:
        """The folder of runs' decoded sound: a disk of its own."""
        return self.settings.data_dir / "scratch"

    def program(self, name: str) -> psutil.Process | None:
        """A supervised program, None while it does not run."""
        with suppress(OSError, psutil.Error):
            for state in program_states(supervisor_socket(self.settings.data_dir)):
                if state.name == name and state.pid:
                    return psutil.Process(state.pid)
        return None

    def run_processes(self) -> list[psutil.Process]:
        """Processes of runs that own a batch now, by what they noted when they claimed it."""
        rows = self.rows("SELECT worker FROM batches WHERE state = 'running' ORDER BY id")
        workers = [RunProcess.parse(str(worker)) for (worker,) in rows]
        processes = [worker.process() for worker in workers if worker is not None]
        return [process for process in processes if process is not None]

    def postgres_processes(self) -> list[psutil.Process]:
        """The embedded server, its postmaster first."""
        server = running_server(self.settings)
        if server is None:
            return []
        with suppress(psutil.Error):
            postmaster = psutil.Process(server.pid)
            return [postmaster, *postmaster.children(recursive=True)]
        return []

    def rows(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Rows of audiomill's database. Raises psycopg.Error or OperatorError while it is away."""
        server = running_server(self.settings)
        if server is None:
            raise OperatorError("The database is away.")
        with psycopg.connect(server.url("audiomill"), connect_timeout=5, options="-c statement_timeout=20000") as link:
            return list(link.execute(statement, values or None).fetchall())  # type: ignore[arg-type]

    def patiently(self, statement: str, seconds: float = 120, **values: object) -> list[tuple[object, ...]]:
        """The same, looked at again while the database is away."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.rows(statement, **values)
            except (psycopg.Error, OperatorError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def open_jobs(self) -> int:
        """How many have not ended."""
        ((count,),) = self.patiently("SELECT count(*) FROM jobs WHERE state NOT IN ('complete', 'failed', 'cancelled')")
        return int(str(count))

    def live_runs(self) -> list[tuple[object, ...]]:
        """Dagster runs that have not ended, as Dagster's own tables have it."""
        server = running_server(self.settings)
        assert server is not None
        with psycopg.connect(server.url("dagster"), connect_timeout=5) as link:
            statement = "SELECT run_id, status, pipeline_name FROM runs WHERE status = ANY(%s)"
            return list(link.execute(statement, (list(LIVE_RUNS),)).fetchall())

    def order_recordings(self, *scripts: str) -> tuple[str, ...]:
        """A recording of the scripted engine per script, in one submission; returns job ids."""
        jobs = []
        for script in scripts:
            key = upload_key(WORKSPACE, uuid.uuid4().hex)
            sound = recording()
            self.store.put_bytes(key, sound, media_type="audio/wav")
            given = InputObject(key, self.store.version(key), len(sound), "a.wav")
            jobs.append(NewJob("transcribe", {"engine": NAME, "initial_prompt": script}, given))
        server = running_server(self.settings)
        assert server is not None
        database = Database(server.url("audiomill"))
        try:
            with database.session() as session:
                return submit(
                    session,
                    workspace_id=WORKSPACE,
                    source="operator",
                    idempotency_key=uuid.uuid4().hex,
                    jobs=jobs,
                    settings=self.settings,
                ).job_ids
        finally:
            database.dispose()

    def order_text(self, words: str, idempotency_key: str) -> str:
        """As a good client orders by the API: again with the same key until an answer comes. Returns the job id."""
        body = {"recipe": "synthesize", "inputs": [{"text": words, "name": "line.txt"}]}
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": idempotency_key}
        deadline = time.monotonic() + 180
        while True:
            with suppress(httpx.TransportError):
                answer = httpx.post(f"{self.settings.api_url}/v1/jobs", json=body, headers=headers, timeout=10)
                if answer.is_success:
                    return str(answer.json()["jobs"][0]["id"])
                # What says that it is our fault may be tried again; any other answer would be blame.
                assert answer.status_code in {500, 502, 503, 504}, answer.text
            assert time.monotonic() < deadline, "no answer to an order within three minutes"
            time.sleep(0.5)


@contextmanager
def chaotic_platform() -> Iterator[Chaotic]:
    """Start, give, stop; and nothing of it is left on the machine, whatever was done to it."""
    folder = Path(tempfile.mkdtemp(prefix="audiomill-chaos-"))
    data = folder / "data"
    (data / "scratch").mkdir(parents=True)
    mounted = _small_disk(data / "scratch")
    api, webserver, s3 = free_ports(3)
    with _store_server(s3, folder / "s3.log") as store_server, _credentials():
        environment = _environment(data, api, webserver, s3)
        with _variables(environment):
            settings = Settings()
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "audiomill.cli.main", "up"],
                env={**os.environ, **environment},
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            said = folder / "up.log"
            wait_until(lambda: "Ready." in said.read_text() or process.poll() is not None, READY_SECONDS, "ready")
            assert process.poll() is None, said.read_text()
            server = running_server(settings)
            assert server is not None
            database = Database(server.url("audiomill"))
            with database.session() as session:
                key = create_key(session, workspace_id=WORKSPACE, name="chaos").plaintext
            database.dispose()
            yield Chaotic(settings, open_store(settings), store_server, key, psutil.Process(process.pid))
        finally:
            with suppress(psutil.Error):
                store_server.resume()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=180)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            left = [*platform_processes(data), *_postgres_of(settings)]
            for each in left:
                with suppress(psutil.Error):
                    each.kill()
            if mounted:
                subprocess.run(["umount", "-l", str(data / "scratch")], check=False)
            _keep_logs(data, folder)
            shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"processes that outlived their platform: {left}"


def _postgres_of(settings: Settings) -> list[psutil.Process]:
    directory = str(data_directory(settings))
    return [
        each
        for each in psutil.process_iter(["name", "cwd", "status"])
        if each.info["name"] == "postgres" and each.info["cwd"] == directory and each.info["status"] != "zombie"
    ]


def _keep_logs(data: Path, folder: Path) -> None:
    """Where `CHAOS_LOGS` names a folder, the logs of a platform stay there to be read."""
    kept = os.environ.get("CHAOS_LOGS")
    if kept:
        target = Path(kept) / folder.name
        shutil.copytree(data / "logs", target, dirs_exist_ok=True)
        shutil.copy(folder / "up.log", target)


def _small_disk(folder: Path) -> bool:
    """A disk that a test can fill. False where this user may not mount one: then that fault is left out."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SCRATCH_BYTES},mode=0700", "tmpfs", str(folder)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


def _environment(data: Path, api: int, webserver: int, s3: int) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT),
        "AUDIOMILL_DATA_DIR": str(data),
        "AUDIOMILL_API__PORT": str(api),
        "AUDIOMILL_DAGSTER__PORT": str(webserver),
        "AUDIOMILL_ENGINES__FETCH_DEFAULT_WEIGHTS": "false",
        "AUDIOMILL_ENGINES__EXTRA": json.dumps([SETTING]),
        "AUDIOMILL_BATCHING__MAX_WAIT_SECONDS": "1",
        "AUDIOMILL_BATCHING__MAX_ITEMS": "30",
        "AUDIOMILL_STORAGE__KIND": "s3",
        "AUDIOMILL_STORAGE__BUCKET": BUCKET,
        "AUDIOMILL_STORAGE__ENDPOINT_URL": f"http://127.0.0.1:{s3}",
        "AUDIOMILL_LEASE__HEARTBEAT_SECONDS": "1",
        "AUDIOMILL_LEASE__TTL_SECONDS": "10",
        "AUDIOMILL_LEASE__START_TIMEOUT_SECONDS": "40",
        "AUDIOMILL_LEASE__SWEEP_SECONDS": "5",
        "AUDIOMILL_LEASE__STALL_SECONDS": "20",
        "AUDIOMILL_LEASE__GRACE_SECONDS": "5",
        "AUDIOMILL_LEASE__PAUSE_SECONDS": "1",
        "AUDIOMILL_LEASE__PAUSE_MOST_SECONDS": "8",
    }


@contextmanager
def _variables(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _credentials() -> Iterator[None]:
    with _variables({"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}):
        yield


@contextmanager
def _store_server(port: int, log: Path) -> Iterator[psutil.Process]:
    """An S3 server in a process of its own, so that it can be made to hang."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(lambda: httpx.get(address, timeout=2).status_code > 0), 60, "the S3 server answers")
        with _credentials():
            client = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
            client.create_bucket(Bucket=BUCKET)
            client.close()
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def _answers(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except httpx.HTTPError:
        return False


def outputs_and_events(chaotic: Chaotic) -> list[tuple[object, ...]]:
    """(job, state, failure code, terminal events, outputs, distinct outputs) of every job."""
    return chaotic.patiently(
        """
        SELECT jobs.id, jobs.state, jobs.failure_code, jobs.failure_reason,
               (SELECT count(*) FROM job_events e
                WHERE e.job_id = jobs.id AND e.state IN ('complete', 'failed', 'cancelled')),
               (SELECT count(*) FROM outputs o WHERE o.job_id = jobs.id),
               (SELECT count(DISTINCT o.name) FROM outputs o WHERE o.job_id = jobs.id)
        FROM jobs ORDER BY jobs.id
        """
    )


__all__ = ["Chaotic", "chaotic_platform", "outputs_and_events"]
