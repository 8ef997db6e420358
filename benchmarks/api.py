"""The API under 20 clients: requests a second and latencies of the common requests, beside bare routes.

`python -m benchmarks.api --json PATH` starts uvicorn as `audiomill up` does, in a process of its own, over an embedded
database in a temporary folder with 2,000 jobs; beside it, under the same server, a bare route that does the query of a
`GET` of a job by raw psycopg (bare_route.py). Clients are threads with a connection each, in one other process; on
few cores they and the server take time from each other, so trust the ratios more than the seconds. With `--http h11`,
or another of uvicorn's, both run on that one.
"""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil

from audiomill.accounts.keys import create_key
from audiomill.accounts.workspaces import ensure_workspace
from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.database.embedded import ensure_server
from audiomill.database.migrate import upgrade
from audiomill.jobs.availability import report
from audiomill.platform.supervision import api_options
from audiomill.settings import Settings

CLIENTS = 20
WORKSPACE = "bench"
JOBS = 2000
JOBS_PER_ORDER = 200
ENGINE = AvailabilityReport("espeak-ng", None, "cpu", "text_to_speech", 0, True, None, None)


@dataclass(frozen=True)
class Figures:
    """Of one kind of request. Latencies in milliseconds, as a client saw them.

    server_milliseconds: processor time of the server's process per request, without PostgreSQL's. On a busy machine it
    says more than the rate, of which the clients are a part.
    """

    requests: int
    requests_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    worst_milliseconds: float
    server_milliseconds: float


@dataclass(frozen=True)
class Served:
    """An app under uvicorn."""

    port: int
    process: psutil.Process

    def processor_seconds(self) -> float:
        """So far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Request:
    """What all clients send."""

    served: Served
    path: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes | None = None


def measured(seconds: float, request: Request) -> Figures:
    """Send requests from all clients for some time. Raises RuntimeError when one is not answered well."""
    together = threading.Barrier(CLIENTS)

    def one(_: int) -> list[float]:
        # Not httpx: its client takes more of the processor than the server that is measured.
        connection = HTTPConnection("127.0.0.1", request.served.port, timeout=60)

        def send() -> None:
            connection.request(request.method, request.path, request.body, request.headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 400:  # noqa: PLR2004 - an error
                raise RuntimeError(f"{request.method} {request.path} was answered {answer.status}")

        latencies = []
        with closing(connection):
            send()  # connects
            together.wait()
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                send()
                latencies.append(time.perf_counter() - began)
        return latencies

    before = request.served.processor_seconds()
    with ThreadPoolExecutor(CLIENTS) as pool:
        latencies = sorted(latency for each in pool.map(one, range(CLIENTS)) for latency in each)
    spent = request.served.processor_seconds() - before
    return Figures(
        requests=len(latencies),
        requests_per_second=round(len(latencies) / seconds, 1),
        p50_milliseconds=_milliseconds(latencies, 0.50),
        p99_milliseconds=_milliseconds(latencies, 0.99),
        worst_milliseconds=_milliseconds(latencies, 1.0),
        server_milliseconds=round(spent / len(latencies) * 1000, 2),
    )


def _milliseconds(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1)


def _prepared(settings: Settings) -> str:
    """Tables, a workspace, an engine; returns an API key."""
    database = Database.from_settings(settings)
    try:
        upgrade(database.engine)
        with database.session() as session:
            ensure_workspace(session, WORKSPACE)
            report(session, worker="bench", rows=[ENGINE])
            return create_key(session, workspace_id=WORKSPACE, name="benchmark").plaintext
    finally:
        database.dispose()


def _ordered(address: str, headers: dict[str, str]) -> str:
    """Fill the tables; returns a job's id."""
    for number in range(JOBS // JOBS_PER_ORDER):
        inputs = [{"text": f"Order {number}, text {text}."} for text in range(JOBS_PER_ORDER)]
        answer = httpx.post(
            f"{address}/v1/jobs", json={"recipe": "synthesize", "inputs": inputs}, headers=headers, timeout=120
        )
        answer.raise_for_status()
    return str(answer.json()["jobs"][0]["id"])


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{address}/readyz")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return  # whatever it says: the bare route knows no such address
    raise RuntimeError(f"the API did not become ready (exit status {server.poll()})")


@contextmanager
def _served(app: str, folder: str, *options: str, **variables: str) -> Iterator[Served]:
    """An app under uvicorn in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", *options],
        env={**os.environ, "AUDIOMILL_DATA_DIR": folder, "AUDIOMILL_API__PORT": str(port), **variables},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}", server)
        yield Served(port, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait(30)


def run(seconds: float, http: str | None) -> dict[str, object]:
    """All kinds of request, one after the other; the `GET` of a job and its bare route in turns."""
    with tempfile.TemporaryDirectory(prefix="audiomill-benchmark-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)  # the embedded server may run as another user
        settings = Settings(data_dir=Path(folder))
        headers = {"Authorization": f"Bearer {_prepared(settings)}"}
        stack.callback(ensure_server(settings).stop)
        options = list(api_options(settings))
        if http is not None:
            options[options.index("--http") + 1] = http
        api = stack.enter_context(_served("api.main:app", folder, *options))
        bare = stack.enter_context(_served("benchmarks.bare_route:app", folder, *options, BARE_WORKSPACE=WORKSPACE))
        job_id = _ordered(f"http://127.0.0.1:{api.port}", headers)
        order = json.dumps({"recipe": "synthesize", "inputs": [{"text": "A text of one job."}]}).encode()
        json_headers = {**headers, "Content-Type": "application/json"}
        kinds = {
            "GET /healthz": Request(api, "/healthz", headers),
            "bare route": Request(bare, f"/{job_id}", headers),
            "GET /v1/jobs/{id}": Request(api, f"/v1/jobs/{job_id}", headers),
            "bare route, again": Request(bare, f"/{job_id}", headers),
            "GET /v1/jobs": Request(api, "/v1/jobs", headers),
            "POST /v1/jobs": Request(api, "/v1/jobs", json_headers, "POST", order),
        }
        figures = {name: measured(seconds, request) for name, request in kinds.items()}
    rates = [figures[name].requests_per_second for name in ("bare route", "bare route, again")]
    return {
        "clients": CLIENTS,
        "seconds_each": seconds,
        "jobs": JOBS,
        "http": http or "as audiomill up",
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "job_to_bare_route": round(2 * figures["GET /v1/jobs/{id}"].requests_per_second / sum(rates), 2),
        "requests": {name: asdict(each) for name, each in figures.items()},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written; printed as well")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of request")
    parser.add_argument("--http", help="uvicorn's HTTP protocol: h11, httptools; default: as `audiomill up` has it")
    arguments = parser.parse_args()
    text = json.dumps(run(arguments.seconds, arguments.http), indent=2)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
