"""What the API reads by plain SQL is what commands read by the ORM; and the reader's connections come and go."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.accounts.key_check import KNOWN_SECONDS, KeyCheck
from audiomill.accounts.keys import create_key, revoke_key
from audiomill.accounts.workspaces import ensure_workspace
from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.database.reading import CONNECTIONS, Reader
from audiomill.database.tables import Output, Revision
from audiomill.errors import Conflict, DatabaseUnavailable, NotFound, Unauthorized
from audiomill.jobs.availability import report
from audiomill.jobs.pages import list_jobs
from audiomill.jobs.queries import get_job
from audiomill.jobs.reading import read_job, read_output, read_page
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.jobs.transitions import transition
from audiomill.settings import Settings

Result = TypeVar("Result")
SUMS = b"SELECT %(a)s::int + 1 AS sum"


@pytest.fixture(scope="module")
def job_ids(database: Database, settings: Settings) -> tuple[str, ...]:
    with database.session() as session:
        ensure_workspace(session, "acme")
        report(
            session,
            worker="tests",
            rows=[AvailabilityReport("espeak-ng", None, "cpu", "text_to_speech", 0, True, None, None)],
        )
        jobs = [
            NewJob("synthesize", {}, InputObject(f"texts/acme/{number}", "1", 5, f"{number}.txt"))
            for number in range(7)
        ]
        ids = submit(
            session, workspace_id="acme", source="api", idempotency_key="seven", jobs=jobs, settings=settings
        ).job_ids
        transition(session, [ids[0]], "running")
        transition(session, [ids[0]], "complete")
        _second_revision(session, ids[0])
        # The last one was made before steps were noted.
        for version, name, step in ((1, "b.wav", "synthesize"), (2, "b.wav", "synthesize"), (1, "a.wav", None)):
            session.add(
                Output(
                    id=f"out_{name}_{version}",
                    job_id=ids[0],
                    step=step,
                    name=name,
                    version=version,
                    object_key=f"outputs/{name}/{version}",
                    media_type="audio/wav",
                    size_bytes=version,
                    sha256=str(version) * 64,
                )
            )
        return ids


def _second_revision(session: Session, job_id: str) -> None:
    session.execute(
        text(
            "INSERT INTO work_items (id, job_id, workspace_id, revision, made_in, step, stage, options, reads, engine, "
            "resource_class, tier, length_class, lane, audio_seconds, state) "
            "SELECT id || '-2', job_id, workspace_id, 2, 2, step, stage, options, reads, engine, resource_class, tier, "
            "length_class, lane, audio_seconds, 'complete' FROM work_items WHERE job_id = :job"
        ),
        {"job": job_id},
    )
    for number, state in ((2, "complete"), (3, "failed")):
        session.add(Revision(job_id=job_id, revision=number, base=1, edited_lines=1, state=state))
    session.execute(text("UPDATE jobs SET revision = 2 WHERE id = :job"), {"job": job_id})


@pytest.fixture
def reading(database: Database) -> Iterator[Callable[[Callable[[Reader], Awaitable[Any]]], Any]]:
    def run(reads: Callable[[Reader], Awaitable[Result]]) -> Result:
        async def on_a_loop() -> Result:
            reader = Reader(database.url)
            try:
                return await reads(reader)
            finally:
                await reader.close()

        return asyncio.run(on_a_loop())

    return run


def test_a_job_is_the_same_read_either_way(database: Database, job_ids: tuple[str, ...], reading: Any) -> None:
    for job_id in job_ids:
        with database.session() as session:
            expected = get_job(session, "acme", job_id)
        assert reading(lambda reader, job_id=job_id: read_job(reader, "acme", job_id)) == expected
    assert [
        (output.name, output.version) for output in reading(lambda reader: read_job(reader, "acme", job_ids[0])).outputs
    ] == [("a.wav", 1), ("b.wav", 2)]
    with pytest.raises(NotFound):
        reading(lambda reader: read_job(reader, "rival", job_ids[0]))


@pytest.mark.parametrize(
    "wanted", [{}, {"state": "complete"}, {"batch_id": "none"}, {"run_id": "none"}, {"state": "queued"}]
)
def test_pages_are_the_same_read_either_way(
    database: Database, job_ids: tuple[str, ...], reading: Any, wanted: dict[str, str]
) -> None:
    after, pages = None, 0
    while after is not None or pages == 0:
        with database.session() as session:
            expected = list_jobs(session, "acme", after=after, limit=3, **wanted)
        page = reading(lambda reader, after=after: read_page(reader, "acme", after=after, limit=3, **wanted))
        assert page == expected
        after, pages = page.next_after, pages + 1
    assert pages == {0: 3, 1: 2 if wanted.get("state") == "queued" else 1}[len(wanted)]


def test_an_output_is_the_current_revisions_and_older_ones_stay_by_number(
    job_ids: tuple[str, ...], reading: Any
) -> None:
    assert reading(lambda reader: read_output(reader, "acme", job_ids[0], "b.wav")).version == 2
    for number in (1, 2):
        output = reading(lambda reader, at=number: read_output(reader, "acme", job_ids[0], "b.wav", revision=at))
        assert (output.version, output.object_key) == (number, f"outputs/b.wav/{number}")
    for number, error in ((3, Conflict), (4, NotFound)):
        with pytest.raises(error):
            reading(lambda reader, at=number: read_output(reader, "acme", job_ids[0], "b.wav", revision=at))
    for workspace_id, job_id, name, error in (
        ("rival", job_ids[0], "b.wav", NotFound),
        ("acme", job_ids[0], "c.wav", NotFound),
        ("acme", job_ids[1], "b.wav", Conflict),
    ):
        with pytest.raises(error):
            reading(lambda reader, values=(workspace_id, job_id, name): read_output(reader, *values))


def test_connections_are_few_and_lost_ones_are_replaced(database: Database, reading: Any) -> None:
    async def reads(reader: Reader) -> None:
        async def crowd() -> None:
            rows = await asyncio.gather(*(reader.rows(SUMS, {"a": number}) for number in range(200)))
            assert [row["sum"] for [row] in rows] == list(range(1, 201))

        await crowd()
        assert 1 <= len(reader._idle) <= CONNECTIONS
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'audiomill-reads'"
            )
        await crowd()

    reading(reads)


def test_a_read_that_was_cancelled_spoils_no_other(reading: Any) -> None:
    async def reads(reader: Reader) -> None:
        for _ in range(2 * CONNECTIONS):
            slow = asyncio.ensure_future(reader.rows(b"SELECT pg_sleep(30)", {}))
            await asyncio.sleep(0.05)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
        assert (await reader.rows(SUMS, {"a": 1}))[0]["sum"] == 2

    reading(reads)


def test_a_server_that_is_away_is_said() -> None:
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(Reader("postgresql://nobody@127.0.0.1:1/nothing").rows(SUMS, {"a": 1}))


def test_a_key_is_known_for_a_second(database: Database, reading: Any) -> None:
    with database.session() as session:
        ensure_workspace(session, "acme")
        key = create_key(session, workspace_id="acme", name="tests")
    now = 0.0

    async def reads(reader: Reader) -> None:
        nonlocal now
        keys = KeyCheck(reader, clock=lambda: now)
        assert (await keys.principal(key.plaintext)).key_id == key.id
        with database.session() as session:
            revoke_key(session, workspace_id="acme", key_id=key.id)
        now = KNOWN_SECONDS / 2
        await keys.principal(key.plaintext)
        # Being asked for does not keep it alive.
        now = KNOWN_SECONDS
        for wrong in (key.plaintext, key.plaintext, "am_" + "A" * 43, "", "am_\ud800"):
            with pytest.raises(Unauthorized):
                await keys.principal(wrong)
        assert not keys._known

    reading(reads)
