"""Orders by statements of their own, as the API makes them: one that decides, one that makes all or nothing, once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from sqlalchemy import func, select, text

from audiomill.database.connection import Database
from audiomill.database.reading import Reader
from audiomill.database.tables import Job, JobEvent, Recording, Submission, WorkItem
from audiomill.errors import Conflict, NotFound
from audiomill.jobs.submission import Decided, NewJob, Submitted, decide, make
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, wipe

Result = TypeVar("Result")


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


def by_itself(database: Database, act: Callable[[Reader], Awaitable[Result]]) -> Result:
    async def on_a_loop() -> Result:
        reader = Reader(database.url)
        try:
            return await act(reader)
        finally:
            await reader.close()

    return asyncio.run(on_a_loop())


async def decided(reader: Reader, settings: Settings, jobs: list[NewJob], key: str = "one") -> Decided:
    found = await decide(reader, workspace_id="acme", source="api", idempotency_key=key, jobs=jobs, settings=settings)
    assert isinstance(found, Decided)
    return found


def counts(database: Database) -> list[int | None]:
    with database.session() as session:
        return [
            session.scalar(select(func.count()).select_from(table))
            for table in (Submission, Recording, Job, JobEvent, WorkItem)
        ]


def test_it_makes_what_an_order_in_a_transaction_makes(database: Database, settings: Settings) -> None:
    jobs = audio(3)
    order(database, settings, "acme", jobs, key="in a transaction")
    made = by_itself(database, lambda reader: _made(reader, settings, jobs))
    assert counts(database) == [2, 3, 6, 6, 6]
    with database.session() as session:
        by_transaction, alone = (
            session.execute(
                text(
                    """
                    SELECT jobs.position, recording_id, filename, recipe, capability, parameters, jobs.tier, jobs.state,
                        jobs.stage, event_seq, event.seq, event.state, event.stage, item.engine, item.model, item.lane,
                        item.audio_seconds, item.expected_seconds, item.workspace_id
                    FROM jobs JOIN job_events AS event ON event.job_id = jobs.id
                        JOIN work_items AS item ON item.job_id = jobs.id
                    WHERE (submission_id = :id) = :alone ORDER BY jobs.created_at
                    """
                ),
                {"id": made.submission_id, "alone": alone},
            ).all()
            for alone in (False, True)
        )
    assert alone == by_transaction
    assert [row.position for row in alone] == [0, 1, 2]


async def _made(reader: Reader, settings: Settings, jobs: list[NewJob]) -> Submitted:
    return await make(reader, await decided(reader, settings, jobs))


def test_sent_twice_it_is_made_once_and_both_are_told_the_same(database: Database, settings: Settings) -> None:
    async def twice(reader: Reader) -> tuple[Submitted, Submitted]:
        order_ = await decided(reader, settings, audio(2))
        return await make(reader, order_), await make(reader, order_)

    first, second = by_itself(database, twice)
    assert first == second
    assert first.created
    assert counts(database) == [1, 2, 2, 2, 2]


def test_twenty_that_were_decided_at_once_under_one_key_are_one(database: Database, settings: Settings) -> None:
    jobs = audio(2)

    async def at_once(reader: Reader) -> list[Submitted]:
        orders = [await decided(reader, settings, jobs) for _ in range(20)]
        return await asyncio.gather(*(make(reader, each) for each in orders))

    made = by_itself(database, at_once)
    assert sum(each.created for each in made) == 1
    assert len({each.job_ids for each in made}) == 1
    assert counts(database) == [1, 2, 2, 2, 2]


def test_many_at_once_of_the_same_objects_share_them(database: Database, settings: Settings) -> None:
    jobs = audio(5)

    async def at_once(reader: Reader) -> list[Submitted]:
        orders = [
            await decided(reader, settings, jobs if number % 2 else jobs[::-1], str(number)) for number in range(20)
        ]
        return await asyncio.gather(*(make(reader, each) for each in orders))

    assert all(each.created for each in by_itself(database, at_once))
    assert counts(database) == [20, 5, 100, 100, 100]


def test_a_key_taken_meanwhile_for_another_order_is_refused(database: Database, settings: Settings) -> None:
    async def taken(reader: Reader) -> None:
        first, second = await decided(reader, settings, audio(1)), await decided(reader, settings, audio(1))
        await make(reader, first)
        await make(reader, second)

    with pytest.raises(Conflict) as refused:
        by_itself(database, taken)
    assert refused.value.code == "idempotency_key_reused"
    assert counts(database) == [1, 1, 1, 1, 1]


def test_a_workspace_that_went_meanwhile_is_said(database: Database, settings: Settings) -> None:
    async def gone(reader: Reader) -> None:
        order_ = await decided(reader, settings, audio(1))
        with database.session() as session:
            session.execute(text("DELETE FROM workspaces WHERE id = 'acme'"))
        await make(reader, order_)

    with pytest.raises(NotFound) as refused:
        by_itself(database, gone)
    assert refused.value.code == "workspace_not_found"
    assert counts(database) == [0, 0, 0, 0, 0]
