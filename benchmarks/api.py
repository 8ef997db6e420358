"""The API under 20 clients: requests a second and latencies of the common requests, beside the bare /healthz.

`python -m benchmarks.api --json PATH` starts uvicorn with one worker in a process of its own, over an embedded
database in a temporary folder with 2,000 jobs. Clients are threads with a connection each, in one other process; on
few cores they and the server take time from each other, so trust the ratio to /healthz more than the seconds.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from audiomill.accounts.keys import create_key
from audiomill.accounts.workspaces import ensure_workspace
from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.database.embedded import ensure_server
from audiomill.database.migrate import upgrade
from audiomill.jobs.availability import report
from audiomill.settings import Settings

CLIENTS = 20
JOBS = 2000
JOBS_PER_ORDER = 200
ENGINE = AvailabilityReport("espeak-ng", None, "cpu", "text_to_speech", 0, True, None, None)


@dataclass(frozen=True)
class Figures:
    """Of one kind of request. Latencies in milliseconds, as a client saw them."""

    requests: int
    requests_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    worst_milliseconds: float


def measured(seconds: float, address: str, headers: dict[str, str], send: Callable[[httpx.Client], int]) -> Figures:
    """Send requests from all clients for some time. Raises RuntimeError when one is not answered well."""
    together = threading.Barrier(CLIENTS)

    def one(_: int) -> list[float]:
        latencies = []
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            send(client)  # connects
            together.wait()
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                status = send(client)
                latencies.append(time.perf_counter() - began)
                if status >= 400:  # noqa: PLR2004 - an error
                    raise RuntimeError(f"answered {status}")
        return latencies

    with ThreadPoolExecutor(CLIENTS) as pool:
        latencies = sorted(latency for each in pool.map(one, range(CLIENTS)) for latency in each)
    return Figures(
        requests=len(latencies),
        requests_per_second=round(len(latencies) / seconds, 1),
        p50_milliseconds=_milliseconds(latencies, 0.50),
        p99_milliseconds=_milliseconds(latencies, 0.99),
        worst_milliseconds=_milliseconds(latencies, 1.0),
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
            ensure_workspace(session, "bench")
            report(session, worker="bench", rows=[ENGINE])
            return create_key(session, workspace_id="bench", name="benchmark").plaintext
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
            if httpx.get(f"{address}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the API did not become ready (exit status {server.poll()})")


def run(seconds: float) -> dict[str, object]:
    """All kinds of request, one after the other."""
    with tempfile.TemporaryDirectory(prefix="audiomill-benchmark-") as folder:
        Path(folder).chmod(0o755)  # the embedded server may run as another user
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = Settings(data_dir=Path(folder), api={"port": port})
        headers = {"Authorization": f"Bearer {_prepared(settings)}"}
        address = settings.api_url
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "api.main:app", "--port", str(port), "--log-level", "warning"],
            env={**os.environ, "AUDIOMILL_DATA_DIR": folder, "AUDIOMILL_API__PORT": str(port)},
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait(address, server)
            job_id = _ordered(address, headers)
            body = {"recipe": "synthesize", "inputs": [{"text": "A text of one job."}]}
            kinds: dict[str, Callable[[httpx.Client], int]] = {
                "GET /healthz": lambda client: client.get("/healthz").status_code,
                "GET /v1/jobs/{id}": lambda client: client.get(f"/v1/jobs/{job_id}").status_code,
                "GET /v1/jobs": lambda client: client.get("/v1/jobs").status_code,
                "POST /v1/jobs": lambda client: client.post("/v1/jobs", json=body).status_code,
            }
            figures = {name: asdict(measured(seconds, address, headers, send)) for name, send in kinds.items()}
        finally:
            server.terminate()
            server.wait(30)
            ensure_server(settings).stop()
    return {
        "clients": CLIENTS,
        "seconds_each": seconds,
        "jobs": JOBS,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "requests": figures,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written; printed as well")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of request")
    arguments = parser.parse_args()
    text = json.dumps(run(arguments.seconds), indent=2)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
