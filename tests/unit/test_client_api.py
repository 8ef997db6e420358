"""The client and a server that misbehaves: broken streams, answers that are no problems, keys that must not leak."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audiomill.client import api as client_module
from audiomill.client.api import ApiClient
from audiomill.errors import CustomerError, NotFound, OperatorError, Unauthorized


class Script(BaseHTTPRequestHandler):
    """Answers by the server's `answers`: a list per "METHOD path", the last one again and again."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((f"{self.command} {self.path}", dict(self.headers), body))
        known = self.server.answers[f"{self.command} {self.path}"]
        status, headers, content = known.pop(0) if len(known) > 1 else known[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server finds methods by these names

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(client_module, "PAUSE_SECONDS", 0.001)
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as server:
        server.seen, server.answers = [], {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server) -> Iterator[ApiClient]:
    with ApiClient(f"http://127.0.0.1:{server.server_port}/", "am_secret") as client:
        yield client


def said(document: object, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, json.dumps(document).encode()


def event(seq: int, state: str) -> bytes:
    data = {
        "job_id": "j",
        "seq": seq,
        "state": state,
        "stage": "transcribe",
        "progress": 0.5,
        "reason": None,
        "at": "x",
    }
    return f"id: {seq}\r\nevent: {state}\r\ndata: {json.dumps(data)}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (404, NotFound), (422, CustomerError), (500, OperatorError)]
)
def test_problem_becomes_its_sentence(server, client, status, kind):
    server.answers["GET /v1/jobs/j"] = [said({"detail": "What to do.", "code": "some_code"}, status)]
    with pytest.raises(kind, match=r"What to do\.") as raised:
        client.job("j")
    assert raised.value.code == "some_code"


def test_answer_that_is_no_problem_document(server, client):
    server.answers["GET /v1/jobs/j"] = [(418, {}, b"<html>")]
    with pytest.raises(CustomerError, match="answered 418"):
        client.job("j")


def test_busy_server_is_asked_again(server, client):
    server.answers["POST /v1/jobs"] = [(503, {}, b"{}"), (503, {}, b"{}"), said({"jobs": [{"id": "j"}]})]
    assert client.order("transcribe", {}, [{"upload_id": "u"}], "key-1") == ["j"]
    assert [headers["Idempotency-Key"] for _, headers, _ in server.seen] == ["key-1"] * 3


def test_no_server_is_a_sentence(monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE_SECONDS", 0.001)
    with ApiClient("http://127.0.0.1:9", "am_x") as client, pytest.raises(OperatorError, match="does not answer"):
        client.job("j")


def test_upload_is_sent_again_after_a_busy_store_and_counted_once(server, client, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 1000)
    ticket = {"id": "u", "url": "/v1/objects/t", "headers": {"Content-Type": "audio/wav"}}
    server.answers["POST /v1/uploads"] = [said(ticket)]
    server.answers["PUT /v1/objects/t"] = [(503, {}, b""), (201, {}, b"")]
    counted: list[int] = []
    assert client.upload(path, counted.append) == "u"
    assert sum(counted) == 1000
    puts = [(headers, body) for name, headers, body in server.seen if name.startswith("PUT")]
    assert [body for _, body in puts] == [b"x" * 1000] * 2
    assert not any("Authorization" in headers for headers, _ in puts), "a signed URL never gets the key"


def test_broken_stream_is_taken_up_after_the_last_event(server, client):
    server.answers["GET /v1/jobs/j/events"] = [
        (200, {}, event(1, "queued") + event(2, "running")),
        (502, {}, b""),
        (200, {}, event(3, "complete")),
    ]
    server.answers["GET /v1/jobs/j"] = [said({"state": "running"})]
    seen: list[int] = []
    assert client.follow("j", lambda each: seen.append(each.seq)) == "complete"
    assert seen == [1, 2, 3]
    assert [h["Last-Event-ID"] for name, h, _ in server.seen if name.endswith("events")] == ["0", "2", "2"]


def test_job_that_ended_before_anyone_followed(server, client):
    server.answers["GET /v1/jobs/j/events"] = [(204, {}, b"")]
    server.answers["GET /v1/jobs/j"] = [said({"state": "failed"})]
    assert client.follow("j", lambda _: None) == "failed"


def test_download_leaves_no_half_file(server, client, tmp_path):
    server.answers["GET /v1/jobs/j/outputs/a.txt"] = [(307, {"Location": "/v1/objects/t"}, b"")]
    server.answers["GET /v1/objects/t"] = [said({"detail": "It has expired.", "code": "url_expired"}, 403)]
    with pytest.raises(CustomerError, match="expired"):
        client.download("j", "a.txt", tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
    server.answers["GET /v1/objects/t"] = [(200, {}, b"text")]
    client.download("j", "a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"text"
    assert not any("Authorization" in headers for name, headers, _ in server.seen if "objects" in name)
