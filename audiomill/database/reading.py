"""Hot statements: plain SQL by psycopg on an event loop, autocommit, a few connections of their own.

A statement by the ORM in a transaction, in a thread, costs several times what the query does. What is read often (a
key, a job, a page of jobs) goes this way, and an order, which is written by one statement; everything else that writes
goes by `Database.session()`. A statement may be sent twice: one that writes says itself that it does so once. They live
with their nouns (audiomill/jobs/reading.py, audiomill/jobs/submission.py, audiomill/accounts/key_check.py).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from audiomill.errors import DatabaseUnavailable

CONNECTIONS = 4
"""Of one process. One query takes a fraction of a millisecond, so a few serve more requests than one core can."""

CONNECT_SECONDS = 5
ANSWER_SECONDS = 10.0
"""How long a read may take, with the wait for its turn: a cut cable says nothing."""

Row = dict[str, Any]


class Reader:
    """Rows of single statements. Used on one event loop. Connects when it is first asked, and again after a loss."""

    def __init__(self, url: str, *, prepared_statements: bool = True) -> None:
        """`url`: `postgresql://…`."""
        self._url = url
        self._options: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "audiomill-reads",
        }
        if not prepared_statements:
            self._options["prepare_threshold"] = None
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[psycopg.AsyncConnection[Row]] = []

    async def close(self) -> None:
        """Close the connections; nobody reads any more."""
        while self._idle:
            await self._idle.pop().close()

    async def rows(self, statement: bytes, values: Mapping[str, Any]) -> list[Row]:
        """What a statement selects. Raises DatabaseUnavailable when the server does not answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._turns:
                return await self._read(statement, values)
        except (psycopg.OperationalError, TimeoutError) as error:
            raise DatabaseUnavailable("The database does not answer. Try again in a moment.") from error

    async def _read(self, statement: bytes, values: Mapping[str, Any]) -> list[Row]:
        while self._idle:
            try:
                return await self._once(self._idle.pop(), statement, values)
            except psycopg.OperationalError:
                # The server was restarted since. Asking again harms nobody; the others are of the same age.
                continue
        connection = await psycopg.AsyncConnection.connect(self._url, row_factory=dict_row, **self._options)
        return await self._once(connection, statement, values)

    async def _once(
        self, connection: psycopg.AsyncConnection[Row], statement: bytes, values: Mapping[str, Any]
    ) -> list[Row]:
        try:
            cursor = await connection.execute(statement, values)
            found = await cursor.fetchall()
        except BaseException:
            # Cut in mid-answer, or broken: nobody knows what it would say next.
            await connection.close()
            raise
        self._idle.append(connection)
        return found
