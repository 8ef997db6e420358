"""Every error answer of the API: RFC 9457 problem details, made here and nowhere else.

What went wrong is decided where it went wrong, as an exception of audiomill/errors.py; here it gets its status. What
the customer cannot mend is told to the log in full and to the customer as a reference.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from audiomill import errors

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
MAX_ERRORS = 20
"""How many wrong fields an answer lists. Whoever sends thousands has one mistake, a thousand times."""
MAX_DETAIL = 300
"""Characters of what is said of one field: some say what was sent."""

STATUS: dict[type[errors.AudiomillError], int] = {
    errors.BadInput: 422,
    errors.LimitExceeded: 413,
    errors.BadRequest: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.QuotaExceeded: 429,
    errors.Unauthorized: 401,
    errors.EngineUnavailable: 422,
    errors.QualityRejected: 422,
    errors.StorageUnavailable: 503,
    errors.DatabaseUnavailable: 503,
}
"""By class, the nearest ancestor that is listed; anything else is ours to mend: 500."""

STATUS_BY_CODE = {
    "bad_cursor": 400,
    "bad_idempotency_key": 400,
    "bad_if_match": 400,
    "bad_last_event_id": 400,
    "partial_put": 400,
    # draft-ietf-httpapi-idempotency-key-header, section 2.7: a key used again with another payload.
    "idempotency_key_reused": 422,
    "url_invalid": 403,
    "url_expired": 403,
    "media_type_mismatch": 415,
    # Waiting does not help here, as it does with other quotas: something must be deleted.
    "workspace_full": 403,
}
"""Where the code says more than the class. A signed URL is no login: 403, so that no client asks for a key."""


class ProblemError(BaseModel):
    """One thing that is wrong with a request."""

    location: str = Field(description="`body`, `query`, `path` or `header`")
    pointer: str = Field(description="JSON Pointer (RFC 6901) as a URI fragment, within that location")
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="URN of the kind of problem; ends in the code")
    title: str = Field(description="the kind of problem in words, always the same")
    status: int
    detail: str = Field(description="what was wrong with what, and what to do")
    code: str = Field(description="for programs: stable, lower_snake_case")
    instance: str = Field(description="URN of this request, as in the header `X-Request-ID` and in our log")
    errors: list[ProblemError] | None = Field(
        None, description=f"the first {MAX_ERRORS} fields that are wrong; only with `invalid_request`"
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:audiomill:problem:job_not_found",
                    "title": "Job not found",
                    "status": 404,
                    "detail": "There is no job 'job_01k9zj4w8n2x0q5v7r3t6y1b4d' here.",
                    "code": "job_not_found",
                    "instance": "urn:audiomill:request:01k9zj5a3c7e1g5j9m3p7s1v5x",
                }
            ]
        }
    )


def problem(
    scope: Mapping[str, Any],
    *,
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[ProblemError] | None = None,
) -> JSONResponse:
    """An answer with problem details. `scope` is the ASGI scope of the request."""
    request_id = scope.get("state", {}).get("request_id", "unknown")
    body = Problem(
        type=f"urn:audiomill:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        instance=f"urn:audiomill:request:{request_id}",
        errors=None if errors is None else list(errors),
    )
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def status_of(error: errors.AudiomillError) -> int:
    """The HTTP status of an error."""
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def from_error(scope: Mapping[str, Any], error: errors.AudiomillError) -> JSONResponse:
    """The answer to an error of ours."""
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected(scope, error)
    headers: dict[str, str] = {}
    detail = error.message
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        # The operator's sentence may name folders and hosts.
        log.error("unavailable", code=error.code, detail=error.message, exc_info=error.__cause__)
        what = "storage" if isinstance(error, errors.StorageUnavailable) else "database"
        detail = f"Our {what} does not answer at the moment. Try again in a few seconds."
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="audiomill"'
    return problem(scope, status=status, code=error.code, detail=detail, headers=headers)


def unexpected(scope: Mapping[str, Any], error: BaseException) -> JSONResponse:
    """The answer to an error that nobody foresaw: a reference for the customer, the whole story for the log."""
    request_id = scope.get("state", {}).get("request_id", "unknown")
    log.error("unexpected_error", request_id=request_id, exc_info=error)
    return problem(
        scope,
        status=500,
        code="internal_error",
        detail=f"Something broke on our side. Nothing of this request was kept; it may be repeated. If it happens "
        f"again, tell us the reference {request_id}.",
    )


def busy(scope: Mapping[str, Any]) -> JSONResponse:
    """The answer when no database connection comes free in time."""
    return problem(
        scope,
        status=503,
        code="busy",
        detail="Too many requests are being worked on. Try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def _from_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    wrong = error.errors()
    found = [_field(each) for each in wrong[:MAX_ERRORS]]
    first = f"{found[0].location} {found[0].pointer}: {found[0].detail}"
    more = f" ({len(wrong) - 1} more; `errors` lists the first {len(found)})" if len(wrong) > 1 else ""
    return problem(
        request.scope,
        status=422,
        code="invalid_request",
        detail=f"The request is not as it should be. {first}{more}.",
        errors=found,
    )


def _field(error: Mapping[str, Any]) -> ProblemError:
    location, *path = error["loc"]
    # Names of union members stand in pydantic's path, capitalised as classes are; our fields never are.
    parts = [str(part) for part in path if not (isinstance(part, str) and part[:1].isupper())]
    if location == "header":
        parts = [str(part) for part in path]
    if error["type"] == "json_invalid":
        return ProblemError(location="body", pointer="#", detail=f"not JSON: {error['ctx']['error']}")
    escaped = (part.replace("~", "~0").replace("/", "~1") for part in parts)
    pointer = "".join(f"/{part}" for part in escaped)
    return ProblemError(
        location=str(location), pointer=f"#{pointer}"[:MAX_DETAIL], detail=str(error["msg"])[:MAX_DETAIL]
    )


async def _from_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    phrase = HTTPStatus(error.status_code).phrase
    detail = {
        404: "There is nothing at this address. The addresses are listed at /docs.",
        405: f"This address does not answer {request.method}.",
    }.get(error.status_code, f"{str(error.detail).rstrip('.')}.")
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route at the address; each method is a route of its own.
        headers["Allow"] = ", ".join(sorted(_methods(request))) or headers.get("Allow", "")
    return problem(request.scope, status=error.status_code, code=code, detail=detail, headers=headers)


def _methods(request: Request) -> set[str]:
    """What the document says of the address."""
    paths = request.app.openapi()["paths"].items()
    return {
        method.upper()
        for path, operations in paths
        if compile_path(path)[0].match(request.scope["path"])
        for method in operations
    }


def install(app: FastAPI) -> None:
    """Answer all errors of the app so. What nobody foresaw is caught in api/middleware.py."""

    # None of them is a plain function: those would each take a thread.
    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.AudiomillError)  # noqa: S101 - registered for this class only
        return from_error(request.scope, error)

    async def too_busy(request: Request, _: Exception) -> JSONResponse:
        return busy(request.scope)

    async def cut(request: Request, _: Exception) -> JSONResponse:
        return problem(request.scope, status=400, code="request_cut", detail="The connection ended within the body.")

    app.add_exception_handler(errors.AudiomillError, ours)
    app.add_exception_handler(RequestValidationError, _from_validation)
    app.add_exception_handler(HTTPException, _from_http)
    app.add_exception_handler(PoolTimeout, too_busy)
    app.add_exception_handler(ClientDisconnect, cut)  # nobody reads it; the log has a line, and no error of ours
