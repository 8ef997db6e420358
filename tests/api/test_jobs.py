"""Ordering and looking at jobs over HTTP: repeats, races, pages that hold while rows are added, what is refused."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.jobs.transitions import transition


def order(client: httpx.Client, *texts: str, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    inputs = [{"text": each} for each in texts]
    return client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": inputs, **body}, headers=headers)


def test_an_order_is_there_for_its_workspace_alone(client: httpx.Client, stranger: httpx.Client) -> None:
    made = order(client, "Good morning.")
    assert made.status_code == 201, made.text
    job = made.json()["jobs"][0]
    assert made.headers["Location"] == job["url"]
    got = client.get(job["url"])
    assert got.status_code == 200
    assert got.json()["state"] == "queued"
    assert got.json()["engine"] == "espeak-ng"
    assert got.json()["outputs"] == []
    for address in (job["url"], job["events_url"], f"{job['url']}/outputs/speech.wav"):
        refused = stranger.get(address)
        assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found")
    assert stranger.delete(job["url"]).status_code == 404
    assert stranger.get("/v1/jobs").json() == {"jobs": [], "next": None}


def test_what_to_know_of_a_result_stands_on_its_job(client: httpx.Client, database: Database) -> None:
    job = order(client, "Good morning.").json()["jobs"][0]
    assert client.get(job["url"]).json()["warnings"] == []
    told = [{"code": "cut_off", "sentence": "It was probably cut off. What is there was used."}]
    with database.session() as session:
        session.execute(
            text("UPDATE jobs SET warnings = CAST(:told AS jsonb) WHERE id = :id"),
            {"told": json.dumps(told), "id": job["id"]},
        )
    assert client.get(job["url"]).json()["warnings"] == told
    (listed,) = (each for each in client.get("/v1/jobs").json()["jobs"] if each["id"] == job["id"])
    assert listed["warnings"] == told


def test_a_repeat_gets_the_same_answer_and_says_so(client: httpx.Client) -> None:
    first = order(client, "One.", "Two.", key="repeat-1")
    again = order(client, "One.", "Two.", key='"repeat-1"')
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    other = order(client, "Three.", key="repeat-1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_is_its_workspaces_own(client: httpx.Client, new_client: Callable[[str], httpx.Client]) -> None:
    assert order(client, "Mine.", key="shared-key").status_code == 201
    assert order(new_client("third"), "Not mine.", key="shared-key").status_code == 201


def test_orders_without_a_key_are_orders_of_their_own(client: httpx.Client) -> None:
    assert order(client, "Again.").json()["submission_id"] != order(client, "Again.").json()["submission_id"]


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "tab\tkey"])
def test_a_bad_idempotency_key_is_refused(client: httpx.Client, key: str) -> None:
    refused = order(client, "Hello.", key=key)
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_idempotency_key")


def test_twenty_at_once_with_one_key_make_one_submission(server: str, client: httpx.Client, database: Database) -> None:
    together = Barrier(20)

    def one(_: int) -> httpx.Response:
        with httpx.Client(base_url=server, headers=client.headers, timeout=60) as own:
            together.wait(30)
            return order(own, "At once.", "And again.", key="crowd-key")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.text for answer in answers}) == 1
    with database.session() as session:
        count = session.scalar(
            text(
                "SELECT count(*) FROM jobs JOIN submissions s ON s.id = submission_id "
                "WHERE s.idempotency_key = 'crowd-key'"
            )
        )
    assert count == 2


def test_pages_hold_while_jobs_are_added(new_client: Callable[[str], httpx.Client]) -> None:
    client = new_client("pages")
    before = [job["id"] for n in range(9) for job in order(client, f"{n} a", f"{n} b", f"{n} c").json()["jobs"]]
    seen: list[str] = []
    address: str | None = "/v1/jobs?limit=4&state=queued"
    while address is not None:
        page = client.get(address)
        seen += [job["id"] for job in page.json()["jobs"]]
        order(client, "in between")
        assert ("next" in page.links) == (page.json()["next"] is not None)
        address = page.links.get("next", {}).get("url")
    assert set(seen) == set(before)
    assert len(seen) == len(before)


def test_filters_find_the_jobs_of_a_submission(client: httpx.Client) -> None:
    made = order(client, "A.", "B.").json()
    found = client.get("/v1/jobs", params={"submission_id": made["submission_id"]}).json()["jobs"]
    assert {job["id"] for job in found} == {job["id"] for job in made["jobs"]}
    for name in ("batch_id", "run_id", "submission_id"):
        assert client.get("/v1/jobs", params={name: "nobody"}).json()["jobs"] == []


def test_cancelling_twice_is_the_same_and_a_finished_job_stays(client: httpx.Client, database: Database) -> None:
    url = order(client, "Never mind.").json()["jobs"][0]["url"]
    assert client.delete(url).json()["state"] == "cancelled"
    assert client.delete(url).status_code == 200
    done = order(client, "Done.").json()["jobs"][0]
    with database.session() as session:
        transition(session, [done["id"]], "running")
        transition(session, [done["id"]], "complete")
    refused = client.delete(done["url"])
    assert (refused.status_code, refused.json()["code"]) == (409, "job_finished")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"recipe": "bake"}, 422, "unknown_recipe"),
        ({"recipe": "synthesize\x00"}, 422, "invalid_request"),
        ({"parameters": {"pitch": 500}}, 422, "bad_parameter"),
        ({"parameters": {"nonsense": 1}}, 422, "bad_parameter"),
        ({"parameters": {"voice": "a\x00b"}}, 422, "invalid_request"),
        ({"parameters": {"voice": "x" * 70_000}}, 422, "invalid_request"),
        ({"parameters": {"engine": "no-such"}}, 422, "unknown_engine"),
        ({"parameters": {"language": "tlh"}}, 422, "engine_unavailable"),
        ({"inputs": []}, 422, "invalid_request"),
        ({"inputs": [{"text": "a", "upload_id": "upl_1"}]}, 422, "invalid_request"),
        ({"inputs": [{}]}, 422, "invalid_request"),
        ({"inputs": [7]}, 422, "invalid_request"),
        ({"inputs": [{"text": ""}]}, 422, "empty_text"),
        ({"inputs": [{"text": "a\x07b"}]}, 422, "control_characters"),
        ({"inputs": [{"text": "x"}] * 101}, 413, "too_many_jobs"),
        ({"inputs": [{"upload_id": "upl_unknown"}]}, 404, "upload_not_found"),
        ({"unknown": 1}, 422, "invalid_request"),
    ],
)
def test_a_bad_order_is_refused_with_a_reason(
    client: httpx.Client, body: dict[str, Any], status: int, code: str
) -> None:
    refused = order(client, "Hello.", **body)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_two_million_characters_are_refused_with_the_limit(client: httpx.Client) -> None:
    refused = order(client, "ä" * 2_000_000)
    assert (refused.status_code, refused.json()["code"]) == (413, "text_too_long")
    assert "500,000" in refused.json()["detail"]


@pytest.mark.parametrize(
    "query", [{"after": "!"}, {"after": "WzFd"}, {"limit": 0}, {"limit": "x"}, {"state": "odd"}, {"batch_id": "a\x00"}]
)
def test_bad_queries_are_refused(client: httpx.Client, query: dict[str, Any]) -> None:
    refused = client.get("/v1/jobs", params=query)
    assert refused.status_code in {400, 422}
    assert refused.json()["code"] in {"bad_cursor", "invalid_request"}


@pytest.mark.parametrize("job_id", ["job_x", "a%00b", "x" * 300, "..%2f", "%F0%9F%8E%A7"])
def test_odd_job_ids_are_unknown(client: httpx.Client, job_id: str) -> None:
    for method, address in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/outputs/a%00")):
        assert client.request(method, f"/v1/jobs/{job_id}{address}").status_code == 404
