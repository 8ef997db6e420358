"""Hot reads: plain SQL by psycopg on an event loop, autocommit, a few connections of their own. Nothing here writes.

A read by the ORM in a transaction, in a thread, costs several times what the query does. What is read often (a key, a
job, a page of jobs) goes this way; everything that writes goes by `Database.session()`. Statements live with their
nouns (audiomill/jobs/reading.py, audiomill/accounts/key_check.py).
"""

from collections.abc import Mapping
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from audiomill.errors import DatabaseUnavailable

CONNECTIONS = 4
"""Of one process. One query takes a fraction of a millisecond, so a few serve more requests than one core can."""

CONNECT_SECONDS = 5
TURN_SECONDS = 3.0
"""How long a read waits for a connection, or for a new one after the server was away."""

IDLE_SECONDS = 60.0

Row = dict[str, Any]


class Reader:
    """Rows of single statements. Opened and used on one event loop."""

    def __init__(self, url: str, *, prepared_statements: bool = True) -> None:
        """`url`: `postgresql://…`."""
        options: dict[str, Any] = {
            "autocommit": True,
            "row_factory": dict_row,
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "audiomill-reads",
        }
        if not prepared_statements:
            options["prepare_threshold"] = None
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            kwargs=options,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=TURN_SECONDS,
            max_idle=IDLE_SECONDS,
            reconnect_timeout=CONNECT_SECONDS,
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect; a server that is away is no error yet."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def rows(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
        """What a statement selects. Raises DatabaseUnavailable when the server does not answer."""
        try:
            try:
                return await self._once(statement, values)
            except PoolTimeout:
                raise
            except psycopg.OperationalError:
                # The server may have been restarted since the connection was used last. Reading again harms nobody.
                await self._pool.check()
                return await self._once(statement, values)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable("The database does not answer. Try again in a moment.") from error

    async def _once(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall()
