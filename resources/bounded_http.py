"""uvicorn's h11 protocol for Dagster's webserver, with bounds on what needs no key: the time of a head, of what is left
of a body after its answer, and how many connections. h11 bounds the size of a head itself. As api/http_server.py does
for the API.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_SECONDS = 10.0
"""From the connection, or a further request's first byte, until its head is whole."""

LINGER_SECONDS = 5.0
"""How long the rest of a body may still come after its answer, which did not need it: a refusal, for most."""

MOST_CONNECTIONS = 256
"""Open pages have a socket each; what comes beyond is cut off without a word."""


class BoundedH11(H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **named)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client is gone."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_head()
        elif not self.transport.is_closing():
            self._begin_head()

    def on_response_complete(self) -> None:
        """An answer is sent. uvicorn reads what is left of its request for as long as it comes, a byte at a time."""
        cycle = self.cycle
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self.cycle is cycle:
            self.loop.call_later(LINGER_SECONDS, self._end_linger, cycle)

    def _end_linger(self, cycle: RequestResponseCycle) -> None:
        # The connection may carry another request by now.
        if self.conn.their_state is h11.SEND_BODY and self.cycle is cycle:
            self.transport.close()

    def _begin_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
