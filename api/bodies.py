"""Bodies on their way in: how large one may be, and how long it may take. What is in them is not looked at here.

Plain ASGI, for every route: what a route reads further is bounded in api/routes.py.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems

UPLOADS = "/v1/objects/"

PATIENCE_SECONDS = 20.0
"""How long a body may take before its first byte, and beyond what `SLOWEST_BYTES_PER_SECOND` allows."""

SLOWEST_BYTES_PER_SECOND = 4096
"""A sender slower than this over the whole body is cut off: it would hold a connection, and a file, for days."""


class BodyLimit:
    """Refuses a body that is too large, at once by its announced length or when it has grown so, and one too slow."""

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._app = app
        self._max_bytes, self._max_upload_bytes = max_bytes, max_upload_bytes
        self._patience_seconds = patience_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_upload_bytes if scope["path"].startswith(UPLOADS) else self._max_bytes
        announced = Headers(scope=scope).get("content-length", "0")
        if not (announced.isascii() and announced.isdecimal()):
            await _refused(scope, 400, "bad_request", "The Content-Length is not a number.")(scope, receive, send)
            return
        if int(announced[:20]) > limit:
            await _refused(scope, 413, "content_too_large", f"{too_large(limit)}.")(scope, receive, send)
            return
        await self._app(scope, _Bounded(receive, limit, self._patience_seconds), send)


class _Bounded:
    """`receive` of one request, counted and timed until the body is whole; what comes then is only the end."""

    def __init__(self, receive: Receive, limit: int, patience_seconds: float) -> None:
        self._receive, self._limit, self._patience_seconds = receive, limit, patience_seconds
        self._size = 0
        self._waited_seconds = 0.0
        self._whole = False

    async def __call__(self) -> Message:
        """The next message. Raises HTTPException 408 and 413, which FastAPI lets through when it reads a body."""
        if self._whole:
            return await self._receive()
        clock = asyncio.get_running_loop().time
        began = clock()
        allowed = self._patience_seconds + self._size / SLOWEST_BYTES_PER_SECOND - self._waited_seconds
        try:
            async with asyncio.timeout(max(0.0, allowed)):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408,
                "The body came too slowly or not at all. Send it again, without pauses",
                headers={"Connection": "close"},
            ) from None
        # What we take to work off a piece is not the sender's time.
        self._waited_seconds += clock() - began
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > self._limit:
            raise HTTPException(413, too_large(self._limit), headers={"Connection": "close"})
        return message


def _refused(scope: Mapping[str, Any], status: int, code: str, detail: str) -> JSONResponse:
    # The body is left unread, so the connection cannot be used again.
    return problems.problem(scope, status=status, code=code, detail=detail, headers={"Connection": "close"})


def too_large(limit: int) -> str:
    """The sentence for a body above the limit, without its full stop."""
    return f"The body is larger than {limit:,} bytes, which is the limit here. Send recordings by POST /v1/uploads"
