"""A real API server (uvicorn in a thread) on a free port, over the module's database and store, and clients of it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http_server import BoundedHttp
from api.logs import set_up_logging
from audiomill.accounts.keys import create_key
from audiomill.accounts.workspaces import ensure_workspace
from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.jobs.availability import report
from audiomill.settings import Settings

ENGINES = [
    AvailabilityReport("pocketsphinx", None, "cpu", "speech_to_text", 1, True, None, ("en-us",)),
    AvailabilityReport("faster-whisper", "small", "cpu", "speech_to_text", 0, False, "the weights of 'small'", None),
    AvailabilityReport("espeak-ng", None, "cpu", "text_to_speech", 0, True, None, ("en-us", "en-gb", "de")),
]


@pytest.fixture(scope="session", autouse=True)
def _logging() -> None:
    """As in production: structlog's own default draws tracebacks with every local variable, which takes seconds."""
    set_up_logging("warning")


@contextmanager
def serving(app: FastAPI, listening: socket.socket, *, most_connections: int = 512) -> Iterator[str]:
    """Run an app on a bound socket, under the server that the platform has; yields its address."""
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        limit_concurrency=most_connections,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.01)
    host, port = listening.getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(120)
        assert not thread.is_alive(), "the server did not stop"
        assert not server.lifespan.shutdown_failed, "the app did not shut down cleanly; its error is in the log"


def bound() -> socket.socket:
    """A listening socket on a free port of loopback."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    return listening


@pytest.fixture(scope="module")
def listening() -> Iterator[socket.socket]:
    with bound() as listening:
        yield listening


@pytest.fixture(scope="module")
def settings(settings: Settings, listening: socket.socket) -> Settings:
    """As for all tests, and the API's public address is the server's."""
    api = settings.api.model_copy(update={"port": listening.getsockname()[1]})
    limits = settings.limits.model_copy(update={"max_bytes": 64 * 1024 * 1024, "max_jobs_per_submission": 100})
    return settings.model_copy(update={"api": api, "limits": limits})


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="module")
def server(app: FastAPI, database: Database, listening: socket.socket) -> Iterator[str]:
    """Address of the running server; workers have said what they can run."""
    with database.session() as session:
        report(session, worker="tests", rows=ENGINES)
    with serving(app, listening) as address:
        yield address


@pytest.fixture(scope="module")
def new_client(server: str, database: Database) -> Iterator[Callable[[str], httpx.Client]]:
    """Makes clients with a key of a workspace."""
    clients: list[httpx.Client] = []

    def make(workspace_id: str) -> httpx.Client:
        with database.session() as session:
            ensure_workspace(session, workspace_id)
            key = create_key(session, workspace_id=workspace_id, name="tests")
        clients.append(httpx.Client(base_url=server, headers={"Authorization": f"Bearer {key.plaintext}"}, timeout=30))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def client(new_client: Callable[[str], httpx.Client]) -> httpx.Client:
    """A client of the workspace `acme`."""
    return new_client("acme")


@pytest.fixture(scope="module")
def stranger(new_client: Callable[[str], httpx.Client]) -> httpx.Client:
    """A client of another workspace."""
    return new_client("rival")


@pytest.fixture(scope="module")
def anonymous(server: str) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=server, timeout=30) as client:
        yield client
