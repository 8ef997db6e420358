"""How a request with a key is let in: first the key, then the body, then FastAPI. Which routes there are is not here.

FastAPI reads and parses the body before it asks any dependency, so a stranger could have us parse what they like. And
it validates whatever was parsed, on the event loop. Here the key is checked first, and a body is read up to a limit,
counted, and parsed in a thread when it is large: api/json_body.py.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security.utils import get_authorization_scheme_param
from starlette.exceptions import HTTPException

from api.bodies import too_large
from api.json_body import parsed
from audiomill.accounts.keys import Principal
from audiomill.errors import Unauthorized
from audiomill.settings import LimitSettings

_QUICK_BYTES = 64 * 1024
"""A body up to here is parsed in well under a millisecond: no thread is worth it."""

_BRIEF_BYTES = 64 * 1024

_JSON = re.compile(r"application/([a-z0-9.!#$&^_-]+\+)?json")


def max_json_bytes(limits: LimitSettings) -> int:
    """Of a body in JSON: one text of full length, each character an escaped pair of surrogates, and the rest."""
    return 12 * limits.max_text_characters + 256 * 1024


def max_json_values(limits: LimitSettings) -> int:
    """Of a body in JSON: an order of full length, and parameters."""
    return 10 * limits.max_jobs_per_submission + 10_000


class JsonRequest(Request):
    """A request whose body is read up to a limit, as JSON, once."""

    async def read(self, *, limit: int, max_values: int) -> None:
        """Have the body at hand for FastAPI. Raises HTTPException 408, 413, 415, and what `parsed` raises."""
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > limit:
                raise HTTPException(413, too_large(limit))
        self._body = bytes(body)
        if not body:
            return  # FastAPI says that it is missing
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _JSON.fullmatch(media_type):
            raise HTTPException(415, "The body is no JSON by its Content-Type. Send JSON as `application/json`")
        if len(body) <= _QUICK_BYTES:
            self._json = parsed(self._body, max_values=max_values)
        else:
            self._json = await asyncio.to_thread(parsed, self._body, max_values=max_values)


class KeyedRoute(APIRoute):
    """A route that answers nobody without a key, and reads nothing before it was checked."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the check."""
        handler = super().get_route_handler()
        has_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            await _let_in(request)
            if not has_body:
                return await handler(request)
            limits = request.app.state.services.settings.limits
            bounded = JsonRequest(request.scope, request.receive)
            await bounded.read(limit=self.max_bytes(limits), max_values=max_json_values(limits))
            return await handler(bounded)

        return handle

    @staticmethod
    def max_bytes(limits: LimitSettings) -> int:
        """Of a body."""
        return max_json_bytes(limits)


class BriefKeyedRoute(KeyedRoute):
    """The same for a body of a few lines."""

    @staticmethod
    def max_bytes(limits: LimitSettings) -> int:  # noqa: ARG004 - the same for every installation
        """Of a body."""
        return _BRIEF_BYTES


class DirectRoute(KeyedRoute):
    """The same for what is asked most, where nothing is given beyond the address: the endpoint is called with it.

    To find an endpoint's few arguments takes FastAPI longer than the query. What they are is told to the document only,
    so each must be text of the path that the endpoint checks, `principal` or `services`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint, behind the check."""
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            principal = await _let_in(request)
            answer: Response = await endpoint(
                **request.path_params, principal=principal, services=request.app.state.services
            )
            return answer

        return handle


async def _let_in(request: Request) -> Principal:
    """Whose key it is, noted for the log and for answers that go on for long. Raises Unauthorized."""
    check = partial(request.app.state.services.keys.principal, _key(request))
    principal: Principal = await check()
    request.state.principal, request.state.check_key = principal, check
    request.state.workspace_id = principal.workspace_id
    return principal


def _key(request: Request) -> str:
    scheme, key = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized(
            "This needs an API key. Send it as `Authorization: Bearer am_…`; `audiomill keys create` makes one.",
            code="missing_key",
        )
    return key
