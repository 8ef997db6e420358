"""Ordering and looking at jobs over HTTP."""

import httpx


def order(client: httpx.Client, *texts: str, key: str | None = None, **body: object) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    inputs = [{"text": text} for text in texts]
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
