"""What a stranger, or a customer's broken program, can make us do: bounded in bytes, values, nesting and time."""

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.exceptions import HTTPException

from api import routes
from api.bodies import BodyLimit
from api.json_body import MAX_DEPTH, parsed
from audiomill.errors import BadRequest, LimitExceeded

JSON = {"Content-Type": "application/json"}


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(
    ("piece", "count"),
    [(b"0,", 3_000_000), (b"{},", 2_000_000), (b'{"text":7},', 130_000), (b'"",', 500_000), (b"[", 6_000_000)],
)
def test_an_order_of_countless_values_costs_nothing(client: httpx.Client, piece: bytes, count: int) -> None:
    body = b'{"recipe": "synthesize", "inputs": [' + piece * count + b"0]}"
    before = peak_mebibytes()
    refused = client.post("/v1/jobs", content=body[:6_200_000], headers=JSON)
    assert (refused.status_code, refused.json()["code"]) in {(413, "too_many_values"), (422, "nested_too_deeply")}
    # The body itself is here several times: client and server are one process. Parsed it was a gigabyte.
    assert peak_mebibytes() - before < 100


def test_many_errors_are_counted_and_the_first_are_listed(client: httpx.Client) -> None:
    refused = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": 7}] * 500})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert len(refused.json()["errors"]) == 20
    assert "499 more" in refused.json()["detail"]
    assert len(refused.content) < 4096
    echoed = client.post("/v1/uploads", json={"filename": "a", "size_bytes": 1, "x" * 9000: 1})
    assert len(echoed.content) < 4096


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize("depth", [MAX_DEPTH, 400, 900])
def test_parameters_nested_deeply_are_refused(client: httpx.Client, depth: int) -> None:
    order = {"recipe": "synthesize", "parameters": nested(depth), "inputs": [{"text": "a"}]}
    refused = client.post("/v1/jobs", json=order)
    assert (refused.status_code, refused.json()["code"]) == (422, "nested_too_deeply")


@pytest.mark.parametrize(
    "text",
    ['"', "\\", '\\"', '\\\\"', '"]]]', "[" * 50, '{"a":' * 30, "\\" * 300_000 + '"[', '"\\' * 140_000],
)
def test_what_stands_in_strings_does_not_count(text: str) -> None:
    value = {"a": [text, {text: text}]}
    assert parsed(json.dumps(value).encode(), max_values=50) == value


def test_the_count_cannot_be_fooled() -> None:
    for hidden in (b'["\\\\"' + b",0" * 500 + b"]", b'["\\\\\\""' + b",0" * 500 + b"]"):
        with pytest.raises(LimitExceeded):
            parsed(hidden, max_values=100)
    # In UTF-16 the bytes of other characters look like quotes.
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(Exception, match="json_invalid"):
            parsed('["\u2200"]'.encode(encoding), max_values=100)
    with pytest.raises(BadRequest):
        parsed(b'["\\""' + b",[" * 30, max_values=100)


def test_a_large_body_of_one_text_is_taken(client: httpx.Client) -> None:
    """The longest text there may be, in the longest way to write it."""
    body = b'{"recipe": "synthesize", "inputs": [{"text": "' + b"\\ud83d\\ude00" * 500_000 + b'"}]}'
    answer = client.post("/v1/jobs", content=body, headers=JSON)
    assert answer.status_code == 201, answer.text
    over = client.post("/v1/jobs", content=body[:-4] + b"a" * 200_000 + b'"}]}', headers=JSON)
    assert (over.status_code, over.json()["code"]) == (413, "text_too_long")


def test_each_route_has_its_limit(client: httpx.Client) -> None:
    refused = client.post("/v1/uploads", content=b" " * 70_000, headers=JSON)
    assert refused.status_code == 413
    assert "65,536 bytes" in refused.json()["detail"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "text/json", "", "application/x-json-no"])
def test_a_body_that_is_no_json_by_its_name_is_refused(client: httpx.Client, media_type: str) -> None:
    refused = client.post("/v1/jobs", content=b"{}", headers={"Content-Type": media_type})
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/uploads"])
@pytest.mark.parametrize("key", [None, "am_" + "A" * 43, "nonsense"])
def test_nothing_is_read_without_a_key(server: str, address: str, key: str | None) -> None:
    """The answer is there before the body was sent."""
    url = urlsplit(server)
    authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=15) as raw:
        raw.sendall(
            f"POST {address} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{authorization}"
            "Content-Length: 60000\r\n\r\n".encode()
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/objects/x"])
def test_what_is_announced_as_too_large_is_not_waited_for(client: httpx.Client, address: str) -> None:
    """The answer is there before a byte of the body was sent."""
    url = urlsplit(str(client.base_url))
    method = "PUT" if "objects" in address else "POST"
    with socket.create_connection((url.hostname, url.port), timeout=15) as raw:
        raw.sendall(
            f"{method} {address} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: {client.headers['Authorization']}\r\nContent-Length: {10**12}\r\n\r\n".encode()
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("size_bytes", [True, 5.0, "5", 5.5, None])
def test_a_size_is_a_whole_number(client: httpx.Client, size_bytes: object) -> None:
    refused = client.post("/v1/uploads", json={"filename": "a.wav", "size_bytes": size_bytes})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/size_bytes")


def test_a_body_that_comes_slowly_is_cut_off() -> None:
    """By its pace over the whole: a piece just before every limit of a pause would hold the connection for days."""

    async def trickle() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def app(_: object, receive: Callable[[], Any], __: object) -> None:
        while True:
            await receive()

    limited = BodyLimit(app, max_bytes=100, max_upload_bytes=100, patience_seconds=0.2)
    scope = {"type": "http", "path": "/v1/jobs", "headers": []}
    with pytest.raises(HTTPException) as refused:
        asyncio.run(asyncio.wait_for(limited(scope, trickle, lambda _: asyncio.sleep(0)), 20))  # type: ignore[arg-type]
    assert refused.value.status_code == 408


def test_whoever_waits_for_the_answer_is_not_cut_off() -> None:
    """A stream of events waits for the client to leave, for hours."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def later() -> dict[str, Any]:
        await asyncio.sleep(0.1)
        return messages.pop(0)

    async def app(_: object, receive: Callable[[], Any], __: object) -> None:
        assert [(await receive())["type"], (await receive())["type"]] == ["http.request", "http.disconnect"]

    limited = BodyLimit(app, max_bytes=100, max_upload_bytes=100, patience_seconds=0.15)
    scope = {"type": "http", "path": "/v1/jobs", "headers": []}
    asyncio.run(limited(scope, later, lambda _: asyncio.sleep(0)))  # type: ignore[arg-type]


def test_others_are_answered_while_a_large_body_is_parsed(server: str, client: httpx.Client) -> None:
    ended = threading.Event()
    statuses: list[int] = []

    def others() -> None:
        with httpx.Client(base_url=server) as other:
            while not ended.is_set():
                statuses.append(other.get("/healthz").status_code)

    watching = threading.Thread(target=others)
    watching.start()
    try:
        for _ in range(3):
            client.post("/v1/jobs", content=b'{"recipe": "' + b'\\"' * 3_000_000 + b'"}', headers=JSON)
    finally:
        ended.set()
        watching.join()
    assert set(statuses) == {200}


def test_a_large_body_is_parsed_beside_the_event_loop(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """On it, everybody else would wait for as long."""
    on_the_loop: list[bool] = []

    def noted(body: bytes, *, max_values: int) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            on_the_loop.append(False)
        else:
            on_the_loop.append(True)
        return parsed(body, max_values=max_values)

    monkeypatch.setattr(routes, "parsed", noted)
    for size in (100, 1_000_000):
        client.post("/v1/jobs", content=b'{"recipe": "' + b"x" * size + b'"}', headers=JSON)
    assert on_the_loop == [True, False]


def test_every_list_of_a_body_has_an_end(client: httpx.Client) -> None:
    """By the schema, so that nothing is made of what is too long."""
    document = client.get("/openapi.json").json()
    lists = []

    def look(schema: Any, where: str) -> None:
        if isinstance(schema, list):
            for each in schema:
                look(each, where)
        elif isinstance(schema, dict):
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                look(document["components"]["schemas"][name], f"{where}.{name}")
            if schema.get("type") == "array":
                lists.append((where, schema.get("maxItems")))
            for name, each in schema.items():
                look(each, f"{where}.{name}")

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            look(operation.get("requestBody", {}), f"{method} {path}")
    assert lists
    assert [where for where, most in lists if most is None] == []


@pytest.fixture
def quiet_log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from api import problems

    told: list[str] = []
    monkeypatch.setattr(problems.log, "error", lambda event, **_: told.append(event))
    return told


@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/uploads", "upload"])
def test_a_body_that_is_cut_is_no_error_of_ours(client: httpx.Client, address: str, quiet_log: list[str]) -> None:
    headers = {"Authorization": client.headers["Authorization"], "Content-Type": "application/json"}
    method = "POST"
    if address == "upload":
        made = client.post("/v1/uploads", json={"filename": "a.wav", "content_type": "audio/wav", "size_bytes": 60000})
        method, address, headers = "PUT", urlsplit(made.json()["url"]).path, {"Content-Type": "audio/wav"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    url = urlsplit(str(client.base_url))
    with socket.create_connection((url.hostname, url.port)) as raw:
        raw.sendall(f"{method} {address} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 60000\r\n\r\nabc".encode())
        time.sleep(0.2)
    time.sleep(0.5)
    assert client.get("/healthz").status_code == 200
    assert not quiet_log


@pytest.mark.parametrize("content_range", ["bytes 0-4/5", "bytes 0-4/100", "x"])
def test_a_part_of_an_object_cannot_be_put(client: httpx.Client, content_range: str) -> None:
    made = client.post("/v1/uploads", json={"filename": "a.wav", "content_type": "audio/wav", "size_bytes": 5})
    headers = {"Content-Type": "audio/wav", "Content-Range": content_range}
    refused = client.put(made.json()["url"], content=b"parts", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "partial_put")


def test_a_cursor_with_half_a_character_is_refused(client: httpx.Client) -> None:
    import base64

    for job_id in ("\ud800", "\0", "ü", "a" * 90):
        cursor = base64.urlsafe_b64encode(json.dumps(["2026-01-01T00:00:00+00:00", job_id]).encode()).decode()
        answer = client.get("/v1/jobs", params={"after": cursor})
        assert answer.status_code == (200 if job_id.startswith("a") else 400), job_id
