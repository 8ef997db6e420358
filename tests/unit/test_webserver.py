"""How Dagster's webserver listens, over a real socket: what comes before the guard can say no."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

import httpx
import pytest
import uvicorn

from audiomill.errors import ConfigurationError
from audiomill.operators import guard, tries
from audiomill.operators.guard import Guard, policy_of
from audiomill.platform.readiness import Readiness
from audiomill.settings import Settings
from resources import bounded_http, webserver
from resources.webserver import server_options

LOADED = b"""{"data": {"workspaceOrError": {"locationEntries": [
    {"locationOrLoadError": {"__typename": "RepositoryLocation"}}]}}}"""


async def nothing(scope, receive, send):
    """Behind the guard: says of everything that it is loaded."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": LOADED})


@pytest.fixture
def port(tmp_path) -> Iterator[int]:
    """Of a guard that listens as the platform's does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        dagster = {"operator_key": "amop_of-a-test-only", "port": listening.getsockname()[1]}
        settings = Settings(data_dir=tmp_path, dagster=dagster)
        options = {**server_options(settings), "lifespan": "off", "log_config": None}
        server = uvicorn.Server(uvicorn.Config(Guard(nothing, policy_of(settings)), **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(60)


@pytest.mark.parametrize("line", ["GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "GET /"])
def test_a_head_without_an_end_is_cut_off(port: int, line: str) -> None:
    """A hundred megabytes of it once stopped the UI for seventeen seconds, without a key."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(line.encode())
        try:
            while sent < 100_000_000:
                sent += raw.send(b"a" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 20_000_000  # most of it lies in the kernel's buffers
    assert httpx.get(f"http://127.0.0.1:{port}/runs").status_code == 401


def test_what_is_served_is_the_guard(tmp_path, monkeypatch) -> None:
    """With Dagster's own app behind it; and nothing is opened where it may not listen."""
    served: list[tuple[object, object]] = []
    opened: list[object] = []

    class Opened:
        """An instance, or a workspace: neither is looked at."""

        def __init__(self, *arguments: object, **named: object) -> None:
            opened.append(self)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @classmethod
        def get(cls) -> "Opened":
            return cls()

        def optimize_for_webserver(self, *_: object) -> None:
            pass

    monkeypatch.setattr(webserver, "DagsterInstance", Opened)
    monkeypatch.setattr(webserver, "WorkspaceProcessContext", Opened)
    monkeypatch.setattr(webserver, "create_app_from_workspace_process_context", lambda *_, **__: nothing)
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.append((app, options["host"])))
    public = Settings(data_dir=tmp_path, dagster={"operator_key": "amop_of-a-test-only", "host": "0.0.0.0"})
    with pytest.raises(ConfigurationError):
        webserver.serve(public, tmp_path / "workspace.yaml")
    assert (opened, served) == ([], [])
    webserver.serve(
        Settings(data_dir=tmp_path, dagster={"operator_key": "amop_of-a-test-only"}), tmp_path / "workspace.yaml"
    )
    ((app, host),) = served
    assert isinstance(app, Guard)
    assert app._app is nothing
    assert host == "127.0.0.1"


def test_a_head_that_comes_slowly_or_never_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.5)
    for begun in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
            raw.sendall(begun)
            assert raw.recv(100) == b""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(2):  # over one connection
            assert client.get("/runs").status_code == 401


def test_connections_without_number_are_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "MOST_CONNECTIONS", 2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 401")
        third = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            third.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert third.recv(100) == b""


def login_without_an_end(port: int, path: str = "/login") -> bytes:
    """The whole head of a POST from a page of ours, and the first byte of its body."""
    own = f"Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"
    return f"POST {path} HTTP/1.1\r\n{own}Content-Length: 100\r\n\r\nk".encode()


def test_a_login_without_an_end_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 of them once shut the UI for everybody, without a key."""
    monkeypatch.setattr(guard, "LOGIN_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(login_without_an_end(port))
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_goes_on_after_its_answer_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn reads it for as long as it comes, a byte at a time."""
    monkeypatch.setattr(bounded_http, "LINGER_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(login_without_an_end(port, "/graphql"))
        assert raw.recv(65536).startswith(b"HTTP/1.1 401")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 40:
                sent += raw.send(b"k")
                time.sleep(0.1)
    assert sent < 40


def test_a_connection_whose_body_ended_is_kept(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "LINGER_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        for _ in range(2):
            raw.sendall(login_without_an_end(port, "/graphql"))
            assert raw.recv(65536).startswith(b"HTTP/1.1 401")
            raw.sendall(b"k" * 99)
            time.sleep(0.5)


def test_the_platform_is_ready_whoever_guesses_keys_on_this_machine(port: int, tmp_path) -> None:
    for _ in range(tries.WRONG_KEYS + 1):
        guessed = httpx.get(f"http://127.0.0.1:{port}/", headers={"Authorization": "Bearer x"})
    assert guessed.status_code == 429
    dagster = {"operator_key": "amop_of-a-test-only", "port": port}
    readiness = Readiness(Settings(data_dir=tmp_path, dagster=dagster, api={"port": 1}), tmp_path / "supervisor")
    assert not readiness.all_ready()
    assert readiness.waiting_for() == "code server, API"
