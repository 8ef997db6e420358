"""Uploading to and reading from the local store by signed URLs: wrong sizes, wrong types, ranges, cut connections."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.database.tables import Output
from audiomill.jobs.transitions import transition
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.factory import local_root


def announce(client: httpx.Client, size_bytes: int = 5, **more: Any) -> dict[str, Any]:
    body = {"filename": "a.wav", "content_type": "audio/wav", "size_bytes": size_bytes, **more}
    answer = client.post("/v1/uploads", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def put(client: httpx.Client, upload: dict[str, Any], content: Any, **headers: str) -> httpx.Response:
    return client.put(upload["url"], content=content, headers={"Content-Type": "audio/wav", **headers})


def order(client: httpx.Client, upload: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/jobs", json={"recipe": "transcribe", "inputs": [{"upload_id": upload["id"]}]})


def test_an_upload_is_written_ordered_and_then_left_as_it_is(
    client: httpx.Client, anonymous: httpx.Client, stranger: httpx.Client
) -> None:
    upload = announce(client)
    missing = order(client, upload)
    assert (missing.status_code, missing.json()["code"]) == (409, "upload_missing")
    assert put(anonymous, upload, b"first").status_code == 204
    assert put(anonymous, upload, b"again").status_code == 204
    assert order(stranger, upload).status_code == 404
    made = order(client, upload)
    assert made.status_code == 201, made.text
    assert client.get(made.json()["jobs"][0]["url"]).json()["size_bytes"] == 5
    refused = put(anonymous, upload, b"third")
    assert (refused.status_code, refused.json()["code"]) == (409, "upload_used")


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"four", {}, 422, "size_mismatch"),
        (b"longer", {}, 422, "size_mismatch"),
        ([b"lon", b"ger"], {}, 422, "size_mismatch"),
        ([b"sh"], {}, 422, "size_mismatch"),
        (b"", {}, 422, "size_mismatch"),
        (b"right", {"Content-Type": "text/html"}, 415, "media_type_mismatch"),
        (b"right", {"Content-Type": ""}, 415, "media_type_mismatch"),
    ],
)
def test_other_bytes_than_announced_are_refused_and_leave_nothing(
    client: httpx.Client, settings: Settings, content: Any, headers: dict[str, str], status: int, code: str
) -> None:
    upload = announce(client)
    refused = put(client, upload, content if isinstance(content, bytes) else iter(content), **headers)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert order(client, upload).json()["code"] == "upload_missing"
    assert not [path for path in local_root(settings).rglob("*") if path.is_file() and upload["id"] in path.name]


def test_a_connection_cut_in_mid_upload_leaves_nothing(client: httpx.Client, settings: Settings) -> None:
    upload = announce(client, 3_000_000)
    before = files(settings)
    url = urlsplit(upload["url"])
    with socket.create_connection((url.hostname, url.port)) as raw:
        head = f"PUT {url.path} HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 3000000\r\n\r\n"
        raw.sendall(head.encode() + b"x" * 1_500_000)
    deadline = time.monotonic() + 30
    while files(settings) != before:
        assert time.monotonic() < deadline, "a part of the upload was left"
        time.sleep(0.02)
    assert order(client, upload).json()["code"] == "upload_missing"
    assert put(client, upload, b"y" * 3_000_000).status_code == 204
    assert order(client, upload).status_code == 201


def files(settings: Settings) -> set[Path]:
    return {path for path in local_root(settings).rglob("*") if path.is_file()}


def test_announcements_have_limits(client: httpx.Client) -> None:
    for body, status, code in (
        ({"size_bytes": 0}, 422, "empty_file"),
        ({"size_bytes": 10**12}, 413, "recording_too_large"),
        ({"size_bytes": -1}, 422, "invalid_request"),
        ({"size_bytes": 10**30}, 422, "invalid_request"),
        ({"content_type": "audio/wav\r\nX-Evil: 1"}, 422, "invalid_request"),
        ({"filename": ""}, 422, "invalid_request"),
    ):
        refused = client.post("/v1/uploads", json={"filename": "a.wav", "size_bytes": 5, **body})
        assert (refused.status_code, refused.json()["code"]) == (status, code), body


def test_announcements_that_are_open_are_bounded(
    new_client: Callable[[str], httpx.Client],
    stranger: httpx.Client,
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = new_client("hoarder")
    monkeypatch.setattr(settings.limits, "max_open_uploads", 3)
    monkeypatch.setattr(settings.limits, "max_open_upload_bytes", 100)
    for _ in range(2):
        announce(client, 10)
    body = {"filename": "a.wav", "size_bytes": 81}
    refused = client.post("/v1/uploads", json=body)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_uploads")
    announce(client, 80)
    assert client.post("/v1/uploads", json={**body, "size_bytes": 1}).status_code == 429
    announce(stranger)
    with database.session() as session:
        session.execute(text("UPDATE uploads SET expires_at = clock_timestamp() WHERE workspace_id = 'hoarder'"))
    announce(client, 81)


def test_a_full_workspace_takes_nothing_new_and_says_what_to_do(
    new_client: Callable[[str], httpx.Client],
    stranger: httpx.Client,
    settings: Settings,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = new_client("collector")
    monkeypatch.setattr(settings.limits, "workspace_bytes", 100)
    upload = announce(client, 80)
    put(client, upload, b"x" * 80)
    refused = client.post("/v1/uploads", json={"filename": "a.wav", "size_bytes": 21})
    assert (refused.status_code, refused.json()["code"]) == (403, "workspace_full")
    assert "keeps 80 bytes of the 100 bytes that it may keep, and this brings 21 bytes" in refused.json()["detail"]
    before = len(store.list_page("").objects)
    text_order = {"recipe": "synthesize", "inputs": [{"text": "far too long for what is left"}]}
    assert client.post("/v1/jobs", json=text_order).json()["code"] == "workspace_full"
    assert len(store.list_page("").objects) == before
    assert order(client, upload).status_code == 201
    assert order(client, upload).status_code == 201
    assert stranger.post("/v1/jobs", json=text_order).status_code == 201


@pytest.mark.parametrize("filename", ["../../etc/passwd", "a\x00\nb.wav", "🎧" * 300 + ".wav", "C:\\music\\a.wav"])
def test_odd_file_names_are_shown_tamed(client: httpx.Client, filename: str) -> None:
    upload = announce(client, filename=filename)
    put(client, upload, b"bytes")
    shown = client.get(order(client, upload).json()["jobs"][0]["url"]).json()["filename"]
    assert 0 < len(shown) <= 255
    assert not any(character in shown for character in "/\\\0\n")


def complete_with_output(database: Database, store: ObjectStore, job_id: str, data: bytes) -> None:
    store.put_bytes(f"outputs/acme/{job_id}/v1/transcript.txt", data)
    with database.session() as session:
        transition(session, [job_id], "running")
        transition(session, [job_id], "complete")
        session.add(
            Output(
                id=f"out_{job_id}",
                job_id=job_id,
                name="transcript.txt",
                object_key=f"outputs/acme/{job_id}/v1/transcript.txt",
                media_type="text/plain",
                size_bytes=len(data),
                sha256="0" * 64,
            )
        )


def test_an_output_is_fetched_by_a_url_that_does_one_thing(
    client: httpx.Client, anonymous: httpx.Client, stranger: httpx.Client, database: Database, store: ObjectStore
) -> None:
    upload = announce(client)
    put(client, upload, b"sound")
    job = order(client, upload).json()["jobs"][0]
    early = client.get(f"{job['url']}/outputs/transcript.txt")
    assert (early.status_code, early.json()["code"]) == (409, "job_not_complete")
    complete_with_output(database, store, job["id"], b"0123456789")
    [output] = client.get(job["url"]).json()["outputs"]
    assert stranger.get(output["url"]).status_code == 404
    assert client.get(f"{job['url']}/outputs/other.txt").json()["code"] == "output_not_found"
    redirect = client.get(output["url"])
    assert redirect.status_code == 307
    assert redirect.headers["Cache-Control"] == "no-store"
    url = redirect.headers["Location"]
    whole = anonymous.get(url)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert anonymous.head(url).headers["Content-Length"] == "10"
    part = anonymous.get(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    for header, status in (("bytes=50-60", 416), ("bytes=x", 400)):
        refused = anonymous.get(url, headers={"Range": header})
        assert (refused.status_code, refused.headers["Content-Type"]) == (status, "application/problem+json")
    assert "GET" in anonymous.options(url).headers["Allow"]
    written = anonymous.put(url, content=b"x", headers={"Content-Type": "text/plain"})
    assert (written.status_code, written.json()["code"]) == (403, "url_invalid")
    forged = anonymous.get(url[:-2] + ("aa" if url[-2:] != "aa" else "bb"))
    assert forged.status_code == 403
    store.delete(f"outputs/acme/{job['id']}/v1/transcript.txt")
    assert anonymous.get(url).status_code == 404


def test_a_url_ends_and_cannot_be_bent(anonymous: httpx.Client, store: ObjectStore) -> None:
    for key in ("outputs/acme/a.txt", "outputs/rival/a.txt"):
        store.put_bytes(key, b"mine")
    url = store.signed_get("outputs/acme/a.txt", seconds=1).url
    other = store.signed_get("outputs/rival/a.txt", seconds=60).url
    payload, stamp, signature = url.rpartition("/")[2].split(".")
    bent = [
        ".".join((other.rpartition("/")[2].split(".")[0], stamp, signature)),  # another object
        ".".join((payload, other.rpartition("/")[2].split(".")[1][::-1], signature)),  # another time
        f"{payload}.{stamp}",
        f"{payload}.{stamp}.{signature[:-4]}",
        "a" * 5000,
        "%00",
    ]
    for token in bent:
        refused = anonymous.get(f"/v1/objects/{token}")
        assert (refused.status_code, refused.json()["code"]) == (403, "url_invalid"), token[:60]
    time.sleep(1.2)
    late = anonymous.get(url)
    assert (late.status_code, late.json()["code"]) == (403, "url_expired")


def test_what_is_anothers_is_not_there(client: httpx.Client, stranger: httpx.Client) -> None:
    jobs = [order(client, upload).json()["jobs"][0] for upload in _uploaded(client, 3)]
    cursor = client.get("/v1/jobs?limit=1").json()["next"]
    ours = {job["id"] for job in jobs}
    assert not ours & {job["id"] for job in stranger.get("/v1/jobs", params={"after": cursor}).json()["jobs"]}
    submission = client.get(jobs[0]["url"]).json()["submission_id"]
    assert stranger.get("/v1/jobs", params={"submission_id": submission}).json()["jobs"] == []
    for method, address in (
        ("GET", jobs[0]["url"]),
        ("DELETE", jobs[0]["url"]),
        ("GET", jobs[0]["events_url"]),
        ("GET", f"{jobs[0]['url']}/outputs/transcript.txt"),
    ):
        refused = stranger.request(method, address)
        assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found"), address
    assert client.get(jobs[0]["url"]).json()["state"] == "queued"


def _uploaded(client: httpx.Client, count: int) -> list[dict[str, Any]]:
    uploads = [announce(client) for _ in range(count)]
    for upload in uploads:
        assert put(client, upload, b"bytes").status_code == 204
    return uploads
