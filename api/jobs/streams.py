"""Event streams while they are open: how many a workspace has, and whether the key that opened each still holds."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from audiomill.errors import DatabaseUnavailable, QuotaExceeded, Unauthorized
from audiomill.jobs.events.replay import EventView

KEY_CHECK_SECONDS = 3.0
"""How often a stream asks. The answer is known for a second, whatever the number of streams of a key."""


class OpenStreams:
    """The streams of this process."""

    def __init__(self, most: int) -> None:
        """`most`: of one workspace."""
        self._most = most
        self._open: Counter[str] = Counter()

    def refuse_more(self, workspace_id: str) -> None:
        """Raises QuotaExceeded when the workspace has as many as it may have."""
        if self._open[workspace_id] >= self._most:
            raise QuotaExceeded(
                f"{self._most} event streams are open, which is the limit of a workspace. Close some, or look at the "
                "jobs by GET /v1/jobs.",
                code="too_many_streams",
            )

    @contextmanager
    def one(self, workspace_id: str) -> Iterator[None]:
        """A stream is open for as long as the block lasts."""
        self._open[workspace_id] += 1
        try:
            yield
        finally:
            self._open[workspace_id] -= 1
            if not self._open[workspace_id]:
                del self._open[workspace_id]


async def while_allowed(
    events: AsyncGenerator[EventView, None], check_key: Callable[[], Awaitable[object]]
) -> AsyncIterator[EventView]:
    """The events, until there are no more or the key was revoked."""
    clock = asyncio.get_running_loop().time
    checked_at = clock()
    coming: asyncio.Future[EventView | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events, None))
            await asyncio.wait({coming}, timeout=KEY_CHECK_SECONDS)
            if clock() - checked_at >= KEY_CHECK_SECONDS:
                if not await _holds(check_key):
                    return
                checked_at = clock()
            if coming.done():
                event, coming = coming.result(), None
                if event is None:
                    return
                yield event
    finally:
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming
        await events.aclose()


async def _holds(check_key: Callable[[], Awaitable[object]]) -> bool:
    try:
        await check_key()
    except Unauthorized:
        return False
    except DatabaseUnavailable:
        return True  # nothing new is read meanwhile either; it is asked again
    return True
