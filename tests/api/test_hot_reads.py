"""What is asked all the time goes by plain SQL on the event loop: no session of the ORM, no thread."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from audiomill.database.connection import Database


def test_what_is_read_often_takes_no_session(
    new_client: Callable[[str], httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client("acme")
    order = {"recipe": "synthesize", "inputs": [{"text": "Good morning."}]}
    (job_id,) = [job["id"] for job in client.post("/v1/jobs", json=order).json()["jobs"]]

    def refused(*_: object, **__: Any) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr(Database, "session", refused)
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [job_id]
    assert client.get(f"/v1/jobs/{job_id}/outputs/speech.wav").status_code == 409
