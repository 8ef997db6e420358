"""Following jobs: every event once and in order, whoever is cut off and whatever dies, at one read per change."""

import gc
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import event, make_url, text
from sqlalchemy.orm import Session

from api.jobs import streams
from audiomill.accounts.keys import list_keys, revoke_key
from audiomill.database.connection import Database
from audiomill.database.embedded import EmbeddedServer
from audiomill.jobs.transitions import transition

PROGRESS_EVENTS = 30
EXPECTED = list(range(1, PROGRESS_EVENTS + 4))  # queued, running, the progress, complete


def ordered(client: httpx.Client) -> str:
    answer = client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "Follow me."}]})
    return str(answer.json()["jobs"][0]["id"])


def work_off(database: Database, job_id: str, *, pause_seconds: float = 0.0) -> None:
    with database.session() as session:
        transition(session, [job_id], "running")
    for step in range(PROGRESS_EVENTS):
        time.sleep(pause_seconds)
        with database.session() as session:
            done = {"job": job_id, "share": (step + 1) / PROGRESS_EVENTS}
            session.execute(text("UPDATE work_items SET progress = :share WHERE job_id = :job"), done)
            transition(session, [job_id], "running")
    with database.session() as session:
        transition(session, [job_id], "complete")


class Follower:
    """An EventSource as browsers have it: comes back with Last-Event-ID until it is told 204."""

    def __init__(self, client: httpx.Client, job_id: str) -> None:
        self.seen: list[int] = []
        self.states: list[str] = []
        self.connections = 0
        self._client, self._url = client, f"/v1/jobs/{job_id}/events"

    def follow(self, cut: Callable[[], bool] = lambda: False) -> "Follower":
        while self._connect(cut):
            assert self.connections < 500, "came back again and again"
        return self

    def _connect(self, cut: Callable[[], bool]) -> bool:
        self.connections += 1
        headers = {"Last-Event-ID": str(self.seen[-1])} if self.seen else {}
        with self._client.stream("GET", self._url, headers=headers) as answer:
            if answer.status_code == 204:
                return False
            assert answer.status_code == 200, answer.read()
            number, state = 0, ""
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line.startswith("event: "):
                    state = line[7:]
                elif not line and number:
                    self.seen.append(number)
                    self.states.append(state)
                    number = 0
                    if cut():
                        return True
        return True


def test_what_happened_is_replayed_and_the_stream_ends(client: httpx.Client, database: Database) -> None:
    job_id = ordered(client)
    work_off(database, job_id)
    follower = Follower(client, job_id).follow()
    assert follower.seen == EXPECTED
    assert follower.states[0] == "queued"
    assert follower.states[-1] == "complete"
    assert follower.connections == 2
    middle = client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "30"})
    assert middle.headers["Content-Type"].startswith("text/event-stream")
    assert [line for line in middle.text.splitlines() if line.startswith("id: ")] == ["id: 31", "id: 32", "id: 33"]


@pytest.mark.parametrize("number", ["x", "-1", "999", "1e3", "9" * 40, "٣"])
def test_a_last_event_id_that_never_was_is_refused(client: httpx.Client, number: str) -> None:
    refused = client.get(f"/v1/jobs/{ordered(client)}/events", headers={"Last-Event-ID": number.encode()})
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_last_event_id")


def test_fifty_followers_cut_at_random_miss_nothing_and_read_once(
    server: str, client: httpx.Client, database: Database, app: FastAPI
) -> None:
    job_id = ordered(client)
    reads: list[str] = []
    engine = app.state.services.database.engine

    def count(_: object, __: object, statement: str, *___: object) -> None:
        if "job_events" in statement:
            reads.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    limits = httpx.Limits(max_connections=60, max_keepalive_connections=60)
    with (
        httpx.Client(base_url=server, headers=client.headers, timeout=60, limits=limits) as crowd,
        ThreadPoolExecutor(50) as pool,
    ):
        working = threading.Thread(target=work_off, args=(database, job_id), kwargs={"pause_seconds": 0.05})
        dice = [random.Random(number) for number in range(50)]
        futures = [pool.submit(Follower(crowd, job_id).follow, lambda n=n: dice[n].random() < 0.05) for n in range(50)]
        working.start()
        # Others are served meanwhile: followers hold no connection to the database.
        answers = [client.get(f"/v1/jobs/{job_id}").status_code for _ in range(20)]
        followers = [future.result(120) for future in futures]
        working.join()
    event.remove(engine, "before_cursor_execute", count)
    assert answers == [200] * 20
    assert all(follower.seen == EXPECTED for follower in followers)
    assert sum(follower.connections for follower in followers) > 100, "nobody was cut: the test tests nothing"
    # One read a change; and one for each follower that came back after the end, when nobody held the job any more.
    assert len(reads) <= len(EXPECTED) + 50


def test_what_happens_while_nobody_can_listen_is_told_afterwards(
    client: httpx.Client, database: Database, database_server: EmbeddedServer
) -> None:
    job_id = ordered(client)
    follower = Follower(client, job_id)
    # A connection from before the door is shut.
    with ThreadPoolExecutor(1) as pool, database.engine.connect() as connection, Session(connection) as held:
        future = pool.submit(follower.follow)
        until(lambda: bool(follower.seen))
        door(database_server, database, is_open=False)
        try:
            kill_the_listener(held)
            for state in ("running", "complete"):
                transition(held, [job_id], state)
                held.commit()
        finally:
            door(database_server, database, is_open=True)
        assert future.result(60).states == ["queued", "running", "complete"]


def kill_the_listener(session: Session) -> None:
    killed = session.scalars(
        text(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'audiomill-listener'"
        )
    ).all()
    session.commit()
    assert killed == [True]


def door(server: EmbeddedServer, database: Database, *, is_open: bool) -> None:
    """Let new connections into the module's database, or none; those that are there stay."""
    name = make_url(database.url).database
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {is_open}'.encode())


def test_a_job_that_fails_and_is_run_again_goes_on(client: httpx.Client, database: Database) -> None:
    job_id = ordered(client)
    with database.session() as session:
        transition(session, [job_id], "running")
        transition(session, [job_id], "failed", code="x", reason="The file is empty.")
    first = Follower(client, job_id).follow()
    assert first.states == ["queued", "running", "failed"]
    with database.session() as session:
        transition(session, [job_id], "queued")
        transition(session, [job_id], "running")
        transition(session, [job_id], "complete")
    again = Follower(client, job_id).follow()
    assert again.seen == [1, 2, 3, 4, 5, 6]
    assert again.states[-1] == "complete"


def test_clients_that_leave_leave_nothing_behind(client: httpx.Client, app: FastAPI) -> None:
    job_id = ordered(client)
    feed = app.state.services.feed

    def followers() -> int:
        return sum(topic.followers for topic in feed._topics.get(job_id, {}).values())

    with client.stream("GET", f"/v1/jobs/{job_id}/events"):
        until(lambda: followers() == 1)
    until(lambda: followers() == 0)
    # Cancelled streams are part of reference cycles: their memory goes with the next collection.
    until(lambda: gc.collect() >= 0 and job_id not in feed._topics)


def test_a_stream_ends_with_its_key(
    new_client: Callable[[str], httpx.Client], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEY_CHECK_SECONDS", 0.2)
    client = new_client("leaving")
    job_id = ordered(client)
    with ThreadPoolExecutor(1) as pool, client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        reading = pool.submit(lambda: list(stream.iter_lines()))
        time.sleep(1)
        assert not reading.done(), "it ended though its key holds"
        with database.session() as session:
            [key] = list_keys(session, "leaving")
            revoke_key(session, workspace_id="leaving", key_id=key.id)
        assert "event: queued" in reading.result(20)
    assert client.get(f"/v1/jobs/{job_id}/events").status_code == 401


def test_a_busy_stream_ends_with_its_key_too(
    new_client: Callable[[str], httpx.Client], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event is there before it is time to ask."""
    monkeypatch.setattr(streams, "KEY_CHECK_SECONDS", 0.2)
    client = new_client("hurrying")
    job_id = ordered(client)
    with ThreadPoolExecutor(1) as pool, client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        reading = pool.submit(lambda: list(stream.iter_lines()))
        with database.session() as session:
            [key] = list_keys(session, "hurrying")
            revoke_key(session, workspace_id="hurrying", key_id=key.id)
        work_off(database, job_id, pause_seconds=0.1)
        assert "event: complete" not in reading.result(20)


def test_a_workspace_has_so_many_streams(
    client: httpx.Client, stranger: httpx.Client, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.services.streams, "_most", 2)
    address = f"/v1/jobs/{ordered(client)}/events"
    until(lambda: not app.state.services.streams._open)
    with client.stream("GET", address) as first, client.stream("GET", address) as second:
        lines = [stream.iter_lines() for stream in (first, second)]
        assert all(next(each) for each in lines)
        refused = client.get(address)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        with stranger.stream("GET", f"/v1/jobs/{ordered(stranger)}/events") as other:
            assert other.status_code == 200
    until(lambda: not app.state.services.streams._open)
    with client.stream("GET", address) as again:
        assert again.status_code == 200


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
