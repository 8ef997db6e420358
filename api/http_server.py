"""uvicorn's HTTP protocol with bounds on what comes before a body: the size of a head, its time, how many connections.

uvicorn with httptools takes a head of any size, at any pace, from any number of connections. `uvicorn --http
api.http_server:BoundedHttp`. Bodies are bounded in bodies.py, which knows requests; this knows bytes. Why not h11:
docs/decisions/0025.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, problem

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
HEAD_SECONDS = 10.0
"""From a request's first byte, or from the connection, until its head is whole."""

LINGER_SECONDS = 5.0
"""How long the rest of a body may still come after its answer, which did not need it: a refusal, for most."""

SPARE_CONNECTIONS = 64
"""So many beyond the limit are told that it is reached; the rest is cut off without a word."""

_HEALTH = "/healthz"


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **named)
        # Counted here, for uvicorn answers in plain text and lets connections pile up that ask nothing.
        self._most_connections = self.limit_concurrency
        self.limit_concurrency = None
        self._head_bytes = self._unparsed_bytes = 0
        self._in_head = True
        self._whole = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        if self._crowd(SPARE_CONNECTIONS):
            transport.abort()
        else:
            self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client is gone."""
        self._end_head()
        self._end_linger()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes. The parser tells of a header when it is whole; until then it gathers it, so they are counted here."""
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._unparsed_bytes > 2 * MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, "The head of the request is too large.")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_bytes = 0
        self._whole = False
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        """A part of the request's address."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind the body."""
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._end_head()
        app = self.app
        if self._crowd(0):
            self.app = _Crowded(app)
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._whole = True
        self._end_linger()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is sent. uvicorn reads what is left of its request for as long as it comes, a byte at a time."""
        cycle = self.cycle
        super().on_response_complete()
        if cycle.response_complete and not self._whole and not self._in_head and self._linger_timer is None:
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed, or was too much in one piece."""
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers or ()) >= MAX_HEADERS:
            self._refuse(431, "The head of the request is too large.")
        else:
            self._refuse(400, msg)

    def _crowd(self, spare: int) -> bool:
        return self._most_connections is not None and len(self.connections) > self._most_connections + spare

    def _count(self, *parts: bytes) -> None:
        self._head_bytes += sum(map(len, parts))
        if self._head_bytes > MAX_HEAD_BYTES or (len(parts) > 1 and len(self.headers) >= MAX_HEADERS):
            raise ValueError("head too large")  # the parser stops, and `send_400_response` is called

    def _begin_head(self) -> None:
        self._in_head = True
        self._unparsed_bytes = 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _end_head(self) -> None:
        self._in_head = False
        self._unparsed_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_linger(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "The head of the request came too slowly.")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer without the app, where no answer is under way, and close."""
        if self.cycle is None or self.cycle.response_complete:
            codes = {400: "bad_request", 408: "request_timeout", 431: "head_too_large"}
            answer = problem({}, status=status, code=codes[status], detail=detail)
            head = f"HTTP/1.1 {status} \r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(answer.body)}\r\n"
            self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + bytes(answer.body))
        self.transport.close()


class _Crowded:
    """Stands for the app while there are too many connections. That it lives is still said: see api/health."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - ASGI
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        if scope["path"] == _HEALTH:
            await self._app(scope, receive, send)
            return
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS), "Connection": "close"}
        detail = "Too many connections are open. Try again in a few seconds."
        await problem(scope, status=503, code="busy", detail=detail, headers=headers)(scope, receive, send)
