"""What an order keeps and touches: nothing of one that is refused, nothing slow in its transactions."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from audiomill.catalogue.plan import Role
from audiomill.database.connection import Database
from audiomill.database.reading import Reader
from audiomill.errors import StorageUnavailable
from audiomill.jobs.inputs import hold_for_deletion
from audiomill.jobs.order_statements import KNOWN, MAKE
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.factory import local_root
from tests.api.test_objects import announce, put
from tests.fakes.plans import fit, planted


def texts(settings: Settings) -> list[Path]:
    return [path for path in (local_root(settings) / "texts").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": "bake"},
        {"recipe": "transcribe"},
        {"parameters": {"pitch": 500}},
        {"parameters": {"formats": ["wav"] * 9000}},
        {"parameters": {"language": "tlh"}},
        {"inputs": [{"text": "Kept?"}, {"text": "a\x07b"}]},
        {"inputs": [{"text": "Kept?"}, {"upload_id": "upl_unknown"}]},
    ],
)
def test_a_refused_order_keeps_no_text(client: httpx.Client, settings: Settings, wrong: dict[str, Any]) -> None:
    before = texts(settings)
    body = {"recipe": "synthesize", "inputs": [{"text": "Kept?"}], **wrong}
    assert client.post("/v1/jobs", json=body).status_code in {404, 422}
    assert texts(settings) == before


def test_a_refused_order_with_an_upload_keeps_no_text(client: httpx.Client, settings: Settings) -> None:
    upload = announce(client, content_type="text/plain")
    assert client.put(upload["url"], content=b"sound", headers=upload["headers"]).status_code == 204
    before = texts(settings)
    inputs = [{"text": "Kept beside an upload?"}, {"upload_id": upload["id"]}]
    body = {"recipe": "synthesize", "inputs": inputs, "parameters": {"pitch": 500}}
    assert client.post("/v1/jobs", json=body).status_code == 422
    assert texts(settings) == before
    assert client.post("/v1/jobs", json={**body, "parameters": {}}).status_code == 201


def test_an_order_under_a_key_of_another_keeps_no_text(client: httpx.Client, settings: Settings) -> None:
    def order(text: str) -> httpx.Response:
        body = {"recipe": "synthesize", "inputs": [{"text": text}]}
        return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "keeps-no-text"})

    assert order("The first one.").status_code == 201
    before = texts(settings)
    assert order("Another one.").json()["code"] == "idempotency_key_reused"
    assert texts(settings) == before
    assert order("The first one.").status_code == 200


@pytest.mark.parametrize(
    ("recipe", "content_type"), [("synthesize", "audio/wav"), ("voiceover", "video/mp4"), ("transcribe", None)]
)
def test_an_input_of_the_wrong_kind_is_refused_with_its_name(
    client: httpx.Client, recipe: str, content_type: str | None
) -> None:
    given: dict[str, Any] = {"text": "Good morning.", "name": "a.wav"}
    if content_type is not None:
        upload = announce(client, content_type=content_type)
        assert client.put(upload["url"], content=b"sound", headers=upload["headers"]).status_code == 204
        given = {"upload_id": upload["id"]}
    refused = client.post("/v1/jobs", json={"recipe": recipe, "inputs": [given]})
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong_kind_of_input")
    assert "'a.wav'" in refused.json()["detail"]
    assert "as 'source'" in refused.json()["detail"], "a recipe may take several, each of its kind"


def test_the_store_is_asked_outside_of_transactions_and_reads_no_upload_that_was_hashed_as_it_came(
    client: httpx.Client, app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = announce(client)
    assert put(client, upload, b"sound").status_code == 204
    store: ObjectStore = app.state.services.store
    pool = app.state.services.database.engine.pool
    in_transactions: list[int] = []

    def watched(act: Any) -> Any:
        def acting(*arguments: Any, **keywords: Any) -> Any:
            in_transactions.append(pool.checkedout())
            return act(*arguments, **keywords)

        return acting

    for name in ("stat", "put_bytes"):
        monkeypatch.setattr(store, name, watched(getattr(store, name)))
    monkeypatch.setattr(store, "version", None)
    made = client.post("/v1/jobs", json={"recipe": "transcribe", "inputs": [{"upload_id": upload["id"]}]})
    assert made.status_code == 201, made.text
    spoken = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "Good evening."}]})
    assert spoken.status_code == 201, spoken.text
    assert in_transactions == [0, 0, 0]


def test_an_order_of_texts_is_two_statements_on_the_event_loop(
    client: httpx.Client, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    services = app.state.services

    def watched(reader: Reader) -> Any:
        rows = reader.rows

        async def asking(statement: bytes, values: Any) -> Any:
            sent.append(statement.decode())
            return await rows(statement, values)

        return asking

    monkeypatch.setattr(services.reader, "rows", watched(services.reader))
    monkeypatch.setattr(services.writer, "rows", watched(services.writer))
    body = {"recipe": "synthesize", "inputs": [{"text": f"Line {number}."} for number in range(50)]}
    assert client.post("/v1/jobs", json=body).status_code == 201
    assert [statement for statement in sent if "api_keys" not in statement] == [KNOWN, MAKE]


def test_a_text_that_takes_too_long_to_speak_is_refused_at_its_order(
    client: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not after it was spoken for an hour and a half."""
    monkeypatch.setattr(settings.limits, "max_seconds", 60)
    before = texts(settings)
    body = {"recipe": "synthesize", "inputs": [{"text": "Hello. "}, {"text": "Nothing is short that is long. " * 100}]}
    refused = client.post("/v1/jobs", json=body)
    assert (refused.status_code, refused.json()["code"]) == (413, "speech_too_long")
    assert "60 seconds to speak" in refused.json()["detail"]
    assert texts(settings) == before


def test_a_deletion_that_takes_its_time_fails_no_order(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order stands: who is told otherwise orders again, and has it twice."""
    monkeypatch.setattr("audiomill.jobs.inputs._DELETION_WAIT_MS", 200)
    with database.session() as deleting:
        hold_for_deletion(deleting, "acme")
        answer = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "While one deletes."}]})
    assert answer.status_code == 201
    assert client.get(answer.json()["jobs"][0]["url"]).status_code == 200


def test_a_store_that_is_away_after_the_order_stands_fails_no_order(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StorageUnavailable("The object store does not answer.")

    monkeypatch.setattr("api.jobs.ordering.keep_text", away)
    body = {"recipe": "synthesize", "inputs": [{"text": "And then the store went."}]}
    assert client.post("/v1/jobs", json=body).status_code == 201


def test_inputs_with_roles_make_one_job_together(client: httpx.Client) -> None:
    roles = (Role("source", "text"), Role("subtitles", "text", required=False))
    given = [{"text": "In Spanish.", "role": "subtitles"}, {"text": "In English.", "name": "english.txt"}]
    with planted(fit("say"), fit("mix", "say/x", "input:subtitles", optional=False), roles=roles):
        answer = client.post("/v1/jobs", json={"recipe": "planted", "inputs": given})
        (ordered,) = answer.json()["jobs"]
        job = client.get(ordered["url"]).json()
        refused = client.post("/v1/jobs", json={"recipe": "planted", "inputs": [*given, *given]})
        unknown = client.post("/v1/jobs", json={"recipe": "planted", "inputs": [{"text": "Hm.", "role": "voice"}]})
    assert answer.status_code == 201
    assert job["filename"] == "english.txt", "its first input is of the first role"
    assert [(step["name"], step["state"], step["engine"]) for step in job["steps"]] == [
        ("say", "queued", "audiomill"),
        ("mix", "waiting", "audiomill"),
    ]
    assert (refused.status_code, refused.json()["code"]) == (422, "too_many_of_role")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_role")
