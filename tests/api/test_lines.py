"""Lines over HTTP: looking at them, what an edit costs, editing with and without If-Match, revisions by number, what is
refused. The stages are stood in for by rows and documents as they leave them."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from audiomill.catalogue.dub import DubParameters, plan
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Output, WorkItem
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.revising import end_revision
from audiomill.jobs.transitions import transition
from audiomill.lines.document import Line, Lines
from audiomill.storage import ObjectStore

LINES = Lines(
    source_language="en",
    target_language="es",
    duration_ms=10_000,
    lines=tuple(
        Line(id=f"L{at}", start_ms=1000 * at, end_ms=1000 * at + 900, text=f"t{at}", translation=f"d{at}")
        for at in range(3)
    ),
)


@pytest.fixture
def dub(client: httpx.Client, database: Database, store: ObjectStore) -> str:
    """A dub that is complete: every step has made a document."""
    made = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "Hello."}]})
    job_id: str = made.json()["jobs"][0]["id"]
    steps = plan(DubParameters(target_language="es"), {"source": 1, "subtitles": 1, "source_subtitles": 1})
    with database.session() as session:
        session.execute(text("DELETE FROM work_items WHERE job_id = :job"), {"job": job_id})
        ids = sorted(new_id("item") for _ in steps.steps)
        for item_id, step in zip(ids, steps.steps, strict=True):
            key = f"artifacts/acme/{step.stage}/{item_id}.json"
            store.put_bytes(key, LINES.to_json())
            part = {"object_key": key, "sha256": "1" * 64, "size_bytes": 9, "media_type": "application/json"}
            parts = dict.fromkeys(("lines", "checks", "dub", "voice", "speech", "background"), part)
            session.add(
                Artifact(
                    key=item_id, workspace_id="acme", stage=step.stage, object_key=key, sha256="1" * 64, parts=parts,
                    details={},
                )
            )  # fmt: skip
            session.add(
                WorkItem(
                    id=item_id, job_id=job_id, workspace_id="acme", step=step.name, stage=step.stage, options={},
                    reads=list(step.reads), optional=step.optional, delivers=step.delivers, engine="audiomill",
                    resource_class="cpu", tier=0, length_class="short", lane="lane", audio_seconds=10.0,
                    artifact_key=item_id, state="complete", progress=1, finished_at=func.now(),
                )
            )  # fmt: skip
        session.execute(
            text(
                "UPDATE jobs SET plan = CAST(:plan AS jsonb), capability = 'dub', step = 'mux', stage = 'mux' "
                "WHERE id = :job"
            ),
            {"plan": json.dumps(steps.to_json()), "job": job_id},
        )
        session.add(_output(job_id, 1))
        transition(session, [job_id], "running")
        transition(session, [job_id], "complete")
    return job_id


def _output(job_id: str, version: int) -> Output:
    key = f"outputs/acme/{job_id}/v{version}.1/dub.mp4"
    return Output(
        id=new_id("out"), job_id=job_id, step="mux", name="dub.mp4", version=version, object_key=key,
        media_type="video/mp4", size_bytes=1, sha256=str(version) * 64,
    )  # fmt: skip


def complete(database: Database, job_id: str, revision: int) -> None:
    """As if all of a revision had been made."""
    with database.session() as session:
        for item in session.scalars(select(WorkItem).where(WorkItem.job_id == job_id, WorkItem.revision == revision)):
            before = select(WorkItem.artifact_key).where(WorkItem.job_id == job_id, WorkItem.revision == revision - 1)
            item.artifact_key = item.artifact_key or session.scalar(before.where(WorkItem.step == item.step))
            item.state = "complete"
        session.add(_output(job_id, revision))
        session.flush()
        assert end_revision(session, job_id, revision, "complete", stage="mux", step="mux")


def patch(client: httpx.Client, job_id: str, *edits: dict[str, Any], **keywords: Any) -> httpx.Response:
    headers = {"Content-Type": "application/json"} | keywords.pop("headers", {})
    return client.patch(f"/v1/jobs/{job_id}/lines", content=json.dumps({"lines": edits}), headers=headers, **keywords)


def fetched(client: httpx.Client, path: str) -> str:
    """What the customer gets."""
    return httpx.get(client.get(path).headers["Location"]).text


EDIT = {"id": "L1", "translation": "otra"}


def test_lines_are_shown_with_their_revision(client: httpx.Client, stranger: httpx.Client, dub: str) -> None:
    got = client.get(f"/v1/jobs/{dub}/lines")
    assert got.status_code == 200, got.text
    assert got.headers["ETag"] == '"1"'
    body = got.json()
    assert (body["job_id"], body["revision"], body["target_language"]) == (dub, 1, "es")
    assert body["lines"] == json.loads(LINES.to_json())["lines"]
    assert stranger.get(f"/v1/jobs/{dub}/lines").json()["code"] == "job_not_found"
    assert patch(stranger, dub, EDIT).json()["code"] == "job_not_found"


def test_a_dry_run_tells_the_cost_and_makes_nothing(client: httpx.Client, dub: str) -> None:
    told = patch(client, dub, EDIT, params={"dry_run": True})
    assert told.status_code == 200, told.text
    assert told.json() == {
        "job_id": dub, "base": 1, "revision": None, "changed": ["L1"], "seconds": 20.9,
        "cost": [
            {"step": "speak", "stage": "speak", "seconds": 0.9},
            {"step": "mix", "stage": "mix", "seconds": 10.0},
            {"step": "mux", "stage": "mux", "seconds": 10.0},
        ],
    }  # fmt: skip
    assert [each["revision"] for each in client.get(f"/v1/jobs/{dub}").json()["revisions"]] == [1]


def test_an_edit_makes_a_revision_and_the_old_one_stays_by_number(
    client: httpx.Client, database: Database, store: ObjectStore, dub: str
) -> None:
    output = f"/v1/jobs/{dub}/outputs/dub.mp4"
    for number in (1, 2):
        store.put_bytes(f"outputs/acme/{dub}/v{number}.1/dub.mp4", str(number).encode())
    made = patch(client, dub, EDIT, headers={"If-Match": '"1"'})
    assert made.status_code == 202, made.text
    assert made.json()["revision"] == 2
    shown = client.get(f"/v1/jobs/{dub}").json()
    assert (shown["state"], shown["revision"]) == ("complete", 1)
    assert [(each["revision"], each["state"], each["edited_lines"]) for each in shown["revisions"]] == [
        (1, "complete", 0),
        (2, "open", 1),
    ]
    for path in (f"{output}?revision=2", f"/v1/jobs/{dub}/lines?revision=2"):
        early = client.get(path)
        assert (early.status_code, early.json()["code"]) == (409, "revision_not_complete")
    assert fetched(client, output) == "1"
    complete(database, dub, 2)
    shown = client.get(f"/v1/jobs/{dub}").json()
    assert (shown["revision"], [each["version"] for each in shown["outputs"]]) == (2, [2])
    assert fetched(client, output) == fetched(client, f"{output}?revision=2") == "2"
    assert fetched(client, f"{output}?revision=1") == "1"
    for path in (f"{output}?revision=9", f"/v1/jobs/{dub}/lines?revision=9"):
        assert client.get(path).json()["code"] == "revision_not_found"
    late = patch(client, dub, EDIT, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["code"]) == (409, "revision_changed")


def test_of_two_edits_at_once_one_is_made(new_client: Callable[[str], httpx.Client], dub: str) -> None:
    clients = [new_client("acme") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: patch(one, dub, EDIT), clients))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"revision_open"}


def test_a_revision_is_cancelled_and_the_job_is_not(client: httpx.Client, stranger: httpx.Client, dub: str) -> None:
    patch(client, dub, EDIT)
    address = f"/v1/jobs/{dub}/revisions/2"
    assert stranger.delete(address).status_code == 404
    assert [client.delete(address).status_code for _ in range(2)] == [204, 204]
    shown = client.get(f"/v1/jobs/{dub}").json()
    assert (shown["state"], shown["revisions"][1]["state"]) == ("complete", "cancelled")
    for number in (0, 9, 2**40):
        assert client.delete(f"/v1/jobs/{dub}/revisions/{number}").json()["code"] == "revision_not_found"
    order = client.delete(f"/v1/jobs/{dub}/revisions/1")
    assert (order.status_code, order.json()["code"]) == (409, "not_an_edit")
    assert patch(client, dub, EDIT).json()["revision"] == 3


def test_an_edit_that_changes_nothing_makes_nothing(client: httpx.Client, dub: str) -> None:
    same = patch(client, dub, {"id": "L1", "translation": "d1"})
    assert (same.status_code, same.json()["revision"], same.json()["changed"], same.json()["cost"]) == (
        200,
        None,
        [],
        [],
    )


@pytest.mark.parametrize(
    ("edits", "status", "code"),
    [
        ([], 422, "invalid_request"),
        ([{"id": "L1"}], 422, "invalid_request"),
        ([{"id": "L1", "text": None}], 422, "invalid_request"),
        ([{"id": "L1", "rate": 2}], 422, "invalid_request"),
        ([{"id": "L9", "text": "x"}], 422, "unknown_line"),
        ([EDIT, EDIT], 422, "line_twice"),
        ([{"id": "L1", "end_ms": 5}], 422, "bad_line"),
        ([{"id": "L1", "text": "a\u0000b"}], 422, "invalid_request"),
        ([{"id": "L1", "text": "a\ud800"}], 422, "invalid_request"),
    ],
)
def test_what_is_no_edit_is_refused(
    client: httpx.Client, dub: str, edits: list[dict[str, Any]], status: int, code: str
) -> None:
    refused = patch(client, dub, *edits)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_what_has_no_lines_or_is_not_complete_is_said(client: httpx.Client, dub: str) -> None:
    made = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "Hello."}]})
    job_id = made.json()["jobs"][0]["id"]
    assert client.get(f"/v1/jobs/{job_id}/lines").json()["code"] == "no_lines"
    assert patch(client, job_id, EDIT).json()["code"] == "job_not_complete"
    client.delete(f"/v1/jobs/{job_id}")
    assert patch(client, job_id, EDIT).json()["code"] == "job_not_complete"
    bad = patch(client, dub, EDIT, headers={"If-Match": "W/x"})
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_if_match")


def test_lines_that_are_gone_are_said_to_be(client: httpx.Client, store: ObjectStore, dub: str) -> None:
    for info in store.list_page("artifacts/acme/mix/").objects:
        store.delete(info.key)
    for gone in (client.get(f"/v1/jobs/{dub}/lines"), patch(client, dub, EDIT)):
        assert (gone.status_code, gone.json()["code"]) == (404, "lines_gone")
        assert "artifacts/" not in gone.text
