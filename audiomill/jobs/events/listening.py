"""Hearing that jobs changed: one LISTEN connection a process, kept alive. What is made of it is in `following.py`.

The connection is direct: PgBouncer's transaction mode passes no notifications on.
"""

import asyncio
from collections.abc import Callable

import psycopg
import structlog
from psycopg import sql
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from audiomill.jobs.events.replay import CHANNEL

log = structlog.get_logger(__name__)

IDLE_SECONDS = 15.0
"""After so long without a notification the connection is asked whether it lives: a cut cable says nothing."""

ANSWER_SECONDS = 5.0
"""How long connecting, or that answer, may take."""

APPLICATION_NAME = "audiomill-listener"
"""What an operator sees in `pg_stat_activity`."""

LONGEST_PAUSE_SECONDS = 10.0
"""Between two attempts to connect."""


class JobListener:
    """Calls `on_change(job_id)` for every change of a job, and `on_gap()` whenever some may have been missed.

    `on_gap` is called once after each (re)connection, when LISTEN is in force: what is read from then on, together
    with the notifications that follow, misses nothing. Both are called on the event loop and must not block.
    """

    def __init__(
        self,
        url: str,
        *,
        on_change: Callable[[str], None],
        on_gap: Callable[[], None],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`url`: `postgresql://…`."""
        self._url = url
        self._on_change = on_change
        self._on_gap = on_gap
        self._idle_seconds = idle_seconds

    async def run(self) -> None:
        """Listen until cancelled. A lost connection is made anew, with growing pauses, for as long as it takes."""
        while True:
            try:
                async with await self._connected() as connection:
                    await self._listen(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.warning("listener_lost", error=type(error).__name__, detail=str(error).strip())
            except Exception:
                # Followers would hang in silence without this task: whatever it was, say it and go on.
                log.exception("listener_broke")
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)

    async def _connected(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((psycopg.Error, OSError, TimeoutError)),
            wait=wait_exponential_jitter(multiplier=0.1, max=LONGEST_PAUSE_SECONDS),
            before_sleep=_say,
        )
        return await retrying(self._connect)

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        connecting = psycopg.AsyncConnection.connect(self._url, autocommit=True, application_name=APPLICATION_NAME)
        return await asyncio.wait_for(connecting, ANSWER_SECONDS)

    async def _listen(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        await asyncio.wait_for(connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))), ANSWER_SECONDS)
        log.info("listener_connected")
        self._on_gap()
        while True:
            async for notification in connection.notifies(timeout=self._idle_seconds):
                self._on_change(notification.payload)
            await asyncio.wait_for(connection.execute("SELECT 1"), ANSWER_SECONDS)


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("listener_cannot_connect", error=type(error).__name__, attempt=state.attempt_number)
