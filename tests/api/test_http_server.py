"""The bounds of the HTTP server itself, over real sockets: heads too large, too slow, too many connections."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api import http_server

from .conftest import bound, serving

SMALL = "GET /healthz HTTP/1.1\r\nHost: x\r\n"


def connected(server: str) -> socket.socket:
    host, _, port = server.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer(raw: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and problem; (0, {}) when the connection ended without a word."""
    received = b""
    try:
        while piece := raw.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head.split()[1]), json.loads(body)) if head else (0, {})


@pytest.mark.parametrize(
    "head",
    [
        SMALL + "X: " + "a" * 40_000 + "\r\n\r\n",
        SMALL + "".join(f"X-{number}: a\r\n" for number in range(200)) + "\r\n",
        SMALL + "A:\r\n" * 60_000 + "\r\n",
        "GET /" + "a" * 40_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_head_too_large_is_refused(server: str, head: str) -> None:
    with connected(server) as raw:
        raw.sendall(head.encode())
        assert answer(raw)[0] == 431


@pytest.mark.parametrize("end", ["X: ", "X", "Cookie: a=", ""])
def test_a_head_without_an_end_is_cut_off(server: str, end: str) -> None:
    """A hundred megabytes of it once held the event loop for ten seconds."""
    sent = 0
    with connected(server) as raw:
        raw.sendall((SMALL + end if end else "GET /").encode())
        try:
            while sent < 100_000_000:
                sent += raw.send(b"a" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 20_000_000  # most of it lies in the kernel's buffers
    assert httpx.get(f"{server}/healthz").status_code == 200


def test_endless_trailers_are_cut_off(server: str) -> None:
    head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    sent = 0
    with connected(server) as raw:
        raw.sendall(head.encode())
        try:
            while sent < 100_000_000:
                sent += raw.send(b"X: aaaaaaaa\r\n" * 5000)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 20_000_000


def test_what_is_no_http_is_a_problem(server: str) -> None:
    with connected(server) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        status, problem = answer(raw)
    assert (status, problem["code"]) == (400, "bad_request")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)


@pytest.mark.parametrize("sent", [b"", b"G", SMALL.encode(), SMALL.encode() + b"\r\n" + SMALL.encode()])
def test_a_head_too_slow_is_cut_off(server: str, impatient: None, sent: bytes) -> None:
    """Nothing at all, a part of a first request, a part of a second."""
    began = time.monotonic()
    with connected(server) as raw:
        raw.sendall(sent)
        received = b""
        while piece := raw.recv(65536):
            received += piece
    assert b" 408 " in received
    assert received.count(b"HTTP/1.1 ") == (2 if b"\r\n\r\n" in sent else 1)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("request_line", ["POST /v1/jobs", "GET /healthz"])
def test_a_body_that_nobody_needs_does_not_hold_its_connection(
    server: str, request_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte a second once held a connection for ever, without a key; 512 of them all that there are."""
    monkeypatch.setattr(http_server, "LINGER_SECONDS", 0.5)
    began = time.monotonic()
    with connected(server) as raw:
        raw.sendall(f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 ")
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < 20:
                raw.sendall(b" ")
                time.sleep(0.1)
    assert time.monotonic() - began < 20, "cut off"


def test_a_body_that_comes_after_its_answer_keeps_the_connection(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "LINGER_SECONDS", 1.0)
    with connected(server) as raw:
        raw.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        assert b" 401 " in raw.recv(65536)
        raw.sendall(b"{}")
        time.sleep(1.5)
        raw.sendall(SMALL.encode() + b"\r\n")
        assert b" 200 " in raw.recv(65536)


def test_a_slow_answer_is_no_slow_head(client: httpx.Client, impatient: None) -> None:
    job = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "Wait for me."}]}).json()["jobs"][0]
    with client.stream("GET", job["events_url"]) as stream:
        time.sleep(1.5)
        client.delete(job["url"])
        assert "event: cancelled" in list(stream.iter_lines())


@pytest.fixture(scope="module")
def narrow(app: FastAPI, database: object) -> Iterator[str]:
    """The API with four connections."""
    with bound() as listening, serving(app, listening, most_connections=4) as address:
        yield address


def test_too_many_connections_are_told_so(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SPARE_CONNECTIONS", 4)
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(narrow)) for _ in range(4)]
        refused = httpx.get(f"{narrow}/v1/jobs")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["Retry-After"]
        assert httpx.get(f"{narrow}/healthz").status_code == 200
        idle += [stack.enter_context(connected(narrow)) for _ in range(4)]
        beyond = stack.enter_context(connected(narrow))
        assert answer(beyond) == (0, {})
    deadline = time.monotonic() + 20
    while httpx.get(f"{narrow}/v1/jobs").status_code != 401:
        assert time.monotonic() < deadline, "the places were not freed"


def test_the_platform_serves_so() -> None:
    """The options that `audiomill up` gives are ones that uvicorn knows."""
    from audiomill.platform.supervision import api_options
    from audiomill.settings import Settings

    options = dict(
        zip(*[iter(option for option in api_options(Settings()) if option != "--no-access-log")] * 2, strict=True)
    )
    config = uvicorn.Config("api.main:app", http=options["--http"], ws=options["--ws"])
    config.load()
    assert config.http_protocol_class is http_server.BoundedHttp
    assert config.ws_protocol_class is None
    assert int(options["--limit-concurrency"]) == 512
