"""What holds for every route: a key is asked for, OpenAPI has examples that are right, errors are problems."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from api.logs import set_up_logging
from audiomill.accounts.key_check import KNOWN_SECONDS
from audiomill.accounts.keys import list_keys, revoke_key
from audiomill.database.connection import Database

PUBLIC = {
    "/healthz",
    "/readyz",
    "/v1/receipt-keys",
    "/v1/objects/{token}",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
}


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_is_public_by_name_or_asks_for_a_key(app: FastAPI, anonymous: httpx.Client) -> None:
    asked = 0
    for method, path, operation in operations(app):
        if path in PUBLIC:
            assert "security" not in operation, path
            continue
        assert operation["security"], path
        address = path.replace("{job_id}", "job_1").replace("{name}", "x")
        for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer am_" + "A" * 43}):
            refused = anonymous.request(method, address, headers=headers, json={})
            assert (refused.status_code, path) == (401, path)
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            assert refused.json()["code"] in {"missing_key", "unknown_key"}
        asked += 1
    assert asked >= 8


def test_no_route_is_hidden_from_the_document(app: FastAPI, anonymous: httpx.Client) -> None:
    documented = {path for _, path, _ in operations(app)}
    for path in PUBLIC - documented:
        assert path.startswith(("/docs", "/redoc", "/openapi.json"))
        assert anonymous.get(path).status_code == 200
    assert len({operation["operationId"] for *_, operation in operations(app)}) == len(operations(app))


def test_a_revoked_key_is_refused_within_a_second(new_client: Any, database: Database) -> None:
    client = new_client("revoking")
    assert client.get("/v1/recipes").status_code == 200
    with database.session() as session:
        [key] = list_keys(session, "revoking")
        revoke_key(session, workspace_id="revoking", key_id=key.id)
    time.sleep(KNOWN_SECONDS)
    assert client.get("/v1/recipes").status_code == 401


def test_every_body_has_an_example_that_its_schema_accepts(app: FastAPI) -> None:
    document = app.openapi()
    checked = 0
    for method, path, operation in operations(app):
        bodies = [operation.get("requestBody", {}).get("content", {})]
        bodies += [answer.get("content", {}) for answer in operation["responses"].values()]
        for content in bodies:
            for body in content.values():
                schema = {**body["schema"], "components": document["components"]}
                examples = found_examples(body, document)
                assert examples, f"{method} {path} has a body without an example"
                for example in examples:
                    jsonschema.Draft202012Validator(schema).validate(example)
                    checked += 1
    assert checked > 50


def found_examples(body: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    if "example" in body:
        return [body["example"]]
    schema = body["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "examples" in schema:
        return list(schema["examples"])
    # A wrapper around one list: an example of its element is one of the list.
    [(name, inner)] = schema["properties"].items()
    return [{name: found_examples({"schema": inner["items"]}, document)}]


def test_real_answers_are_as_the_document_says(app: FastAPI, client: httpx.Client) -> None:
    document = app.openapi()
    made = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "As it is written."}]})
    job = made.json()["jobs"][0]["id"]
    answers = [
        ("post", "/v1/jobs", made),
        ("get", "/v1/jobs", client.get("/v1/jobs")),
        ("get", "/v1/jobs/{job_id}", client.get(f"/v1/jobs/{job}")),
        ("get", "/v1/jobs/{job_id}/outputs/{name}", client.get(f"/v1/jobs/{job}/outputs/speech.wav")),
        ("get", "/v1/jobs/{job_id}", client.get("/v1/jobs/job_unknown")),
        ("get", "/v1/jobs", client.get("/v1/jobs?limit=0")),
        ("delete", "/v1/jobs/{job_id}", client.delete(f"/v1/jobs/{job}")),
        ("get", "/v1/recipes", client.get("/v1/recipes")),
        ("get", "/v1/engines", client.get("/v1/engines")),
        ("get", "/v1/receipt-keys", client.get("/v1/receipt-keys")),
        ("get", "/healthz", client.get("/healthz")),
        ("get", "/readyz", client.get("/readyz")),
        (
            "post",
            "/v1/uploads",
            client.post("/v1/uploads", json={"filename": "a.wav", "content_type": "audio/wav", "size_bytes": 3}),
        ),
    ]
    for method, path, answer in answers:
        said = document["paths"][path][method]["responses"][str(answer.status_code)]
        media_type = answer.headers["Content-Type"]
        schema = {**said["content"][media_type]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


def test_errors_are_problems_with_the_request_id(client: httpx.Client) -> None:
    refused = client.get("/v1/jobs/job_unknown", headers={"X-Request-ID": "my-request-1"})
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json() == {
        "type": "urn:audiomill:problem:job_not_found",
        "title": "Job not found",
        "status": 404,
        "detail": "There is no job 'job_unknown' here.",
        "code": "job_not_found",
        "instance": "urn:audiomill:request:my-request-1",
    }
    odd = client.get("/v1/jobs/job_unknown", headers={"X-Request-ID": "no\tgood id"})
    assert "good" not in odd.headers["X-Request-ID"]


def test_validation_errors_point_at_the_field(client: httpx.Client) -> None:
    refused = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "a"}, {"text": 7}]})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"location": "body", "pointer": "#/inputs/1/text", "detail": "Input should be a valid string"}
    ]
    query = client.get("/v1/jobs?limit=0")
    assert [(each["location"], each["pointer"]) for each in query.json()["errors"]] == [("query", "#/limit")]
    broken = client.post("/v1/jobs", content=b'{"recipe": ', headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["errors"][0]["pointer"]) == (422, "#")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"recipe": "' + b"\xff" * 9 + b'"}', b"", b"null", b'"\\ud800"'])
def test_bodies_that_are_not_json_are_refused(client: httpx.Client, content: bytes) -> None:
    refused = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert refused.status_code in {413, 422}
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_unknown_addresses_and_methods_are_problems(client: httpx.Client) -> None:
    for method, address, status in (("GET", "/nowhere", 404), ("PATCH", "/v1/jobs", 405)):
        refused = client.request(method, address)
        assert (refused.status_code, refused.json()["status"]) == (status, status)


def test_all_methods_of_an_address_are_named(client: httpx.Client) -> None:
    for address, methods in (
        ("/v1/jobs", "GET, POST"),
        ("/v1/jobs/job_x", "DELETE, GET"),
        ("/v1/jobs/job_x/outputs/a.txt", "GET"),
        ("/v1/objects/x", "GET, HEAD, OPTIONS, PUT"),
        ("/v1/uploads", "POST"),
    ):
        refused = client.patch(address)
        assert (refused.status_code, refused.headers["Allow"]) == (405, methods)
    assert client.post("/openapi.json").headers["Allow"]


def test_answers_carry_safe_headers(client: httpx.Client) -> None:
    for address in ("/v1/recipes", "/nowhere", "/healthz"):
        headers = client.get(address, headers={"Origin": "https://elsewhere.example"}).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers
    assert client.get("/v1/recipes").headers["Cache-Control"] == "no-store"
    assert "Content-Security-Policy" not in client.get("/docs").headers


def test_a_body_too_large_is_refused_early(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 1_000_000

    announced = client.post("/v1/jobs", content=b" " * 17_000_000, headers={"Content-Type": "application/json"})
    streamed = client.post("/v1/jobs", content=chunks(), headers={"Content-Type": "application/json"})
    for refused in (announced, streamed):
        assert refused.status_code == 413
        assert "6,262,144 bytes" in refused.json()["detail"]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the process logs, every level of it."""
    file = io.StringIO()
    set_up_logging("debug", file)
    yield file
    set_up_logging("warning")


def test_a_commit_that_fails_is_no_success(client: httpx.Client, database: Database, log: io.StringIO) -> None:
    """The client must not read 201 before the transaction is over."""
    with database.session() as session:
        session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'planted: refused at commit'; END $$"
            )
        )
        session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON submissions DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW WHEN (NEW.idempotency_key = 'doomed') EXECUTE FUNCTION refuse()"
            )
        )
    answer = client.post(
        "/v1/jobs",
        json={"recipe": "synthesize", "inputs": [{"text": "Lost words."}]},
        headers={"Idempotency-Key": "doomed", "X-Request-ID": "doomed-request"},
    )
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "doomed-request" in answer.json()["detail"]
    assert "planted" not in answer.text
    told = next(line for line in log.getvalue().splitlines() if "unexpected_error" in line)
    assert json.loads(told)["request_id"] == "doomed-request"
    assert "planted" in told
    for secret in ("Lost words", client.headers["Authorization"][10:]):
        assert secret not in log.getvalue()


def test_the_log_holds_no_secret(client: httpx.Client, log: io.StringIO) -> None:
    upload = client.post("/v1/uploads", json={"filename": "secret name.wav", "size_bytes": 3}).json()
    client.put(upload["url"], content=b"abc", headers=upload["headers"])
    client.get("/v1/jobs?after=private-cursor")
    client.get(upload["url"])
    requests = [json.loads(line) for line in log.getvalue().splitlines() if '"request"' in line]
    assert [line["status"] for line in requests] == [201, 204, 400, 403]
    assert all(line["request_id"] for line in requests)
    token = upload["url"].rpartition("/")[2]
    for secret in (token, client.headers["Authorization"][10:], "secret name", "private-cursor"):
        assert secret not in log.getvalue()


def test_the_endpoint_of_a_direct_route_is_called_without_fastapis_search(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"recipe": "synthesize", "inputs": [{"text": "Asked often."}]}
    made = client.post("/v1/jobs", json=body).json()["jobs"][0]
    monkeypatch.setattr("fastapi.routing.solve_dependencies", None)
    assert client.get(made["url"]).json()["id"] == made["id"]
    assert client.get("/v1/jobs/%00").json()["code"] == "job_not_found"
    assert client.get(made["url"], headers={"Authorization": ""}).json()["code"] == "missing_key"
