"""What happens to every request: an id, a line in the log, safe headers, an answer come what may. Bodies: `bodies.py`.

Plain ASGI, so that streams pass through unbuffered. No word of what a customer sent reaches the log: neither keys nor
signed URLs, which are keys too. So the route is logged, not the path.
"""

import re
import time
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from api import problems

log = structlog.get_logger("api.access")

DOCS = ("/docs", "/redoc")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_QUIET = ("/healthz", "/readyz")
"""Probes: they come every few seconds and would bury the rest."""


class RequestContext:
    """Outermost: gives the request its id, answers what nobody foresaw, logs, sets every answer's headers."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(ULID()).lower()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._set_headers(MutableHeaders(scope=message), scope, request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                if status:
                    log.exception("answer_cut", route=_route(scope))
                    raise  # too late for another answer: the server cuts the connection
                await problems.unexpected(scope, error)(scope, receive, sending)
            finally:
                _log(scope, status, time.perf_counter() - started)

    def _set_headers(self, headers: MutableHeaders, scope: Scope, request_id: str) -> None:
        headers["X-Request-ID"] = request_id
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        if not scope["path"].startswith(DOCS):
            # The pages of the documentation start with a script in the page.
            headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
        if scope["path"].startswith("/v1/"):
            headers.setdefault("Cache-Control", "no-store")


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "unmatched")


def _log(scope: Scope, status: int, seconds: float) -> None:
    route = _route(scope)
    if route in _QUIET and status < 400:  # noqa: PLR2004 - a probe that passed
        return
    log.info(
        "request",
        method=scope["method"],
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        workspace_id=scope["state"].get("workspace_id"),
        job_id=scope.get("path_params", {}).get("job_id"),
    )
