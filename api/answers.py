"""Answers that endpoints share: the problems that may come, in words for OpenAPI; a model as it is, for hot reads."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from api.problems import MEDIA_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]

_DESCRIPTIONS = {
    400: ("bad_request", "A header, a cursor or the request itself is not as it should be"),
    401: ("missing_key", "No API key, or one that is unknown or revoked"),
    403: ("url_expired", "The signed URL is not ours, is for something else, or has expired"),
    404: ("job_not_found", "No such thing in this workspace"),
    408: ("request_timeout", "The body came too slowly or not at all"),
    409: ("job_finished", "The state of the thing forbids it"),
    413: ("content_too_large", "Larger than the limits"),
    415: ("unsupported_media_type", "Not the media type that was announced"),
    416: ("range_not_satisfiable", "The range lies outside of the object"),
    422: ("invalid_request", "The request makes no sense"),
    429: ("too_many_streams", "Too many at a time; what is open must end first"),
    500: ("internal_error", "Something broke on our side; the reference finds it in our log"),
    503: ("database_unavailable", "Our database or storage does not answer; see `Retry-After`"),
}


def problems(*statuses: int) -> Responses:
    """Entries of `responses=` for these statuses, and for those that any operation may answer with: 400, 500, 503."""
    return {status: _entry(status, *_DESCRIPTIONS[status]) for status in sorted({400, *statuses, 500, 503})}


def keyed(*statuses: int) -> Responses:
    """The same for an operation that wants an API key. Where it may be forbidden, it is by what the workspace keeps."""
    described = problems(401, *statuses)
    if 403 in statuses:  # noqa: PLR2004 - a status is its own name
        described[403] = _entry(403, "workspace_full", "The workspace keeps as much as it may")
    return described


def keyed_with_body(*statuses: int) -> Responses:
    """The same for one that takes JSON: it may come slowly, be too large, be no JSON, or make no sense."""
    return keyed(408, 413, 415, 422, *statuses)


def _entry(status: int, code: str, description: str) -> dict[str, Any]:
    example = Problem(
        type=f"urn:audiomill:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=f"{description}.",
        code=code,
        instance="urn:audiomill:request:01k9zj5a3c7e1g5j9m3p7s1v5x",
    )
    return {
        "description": description,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": example.model_dump(exclude_none=True),
            }
        },
    }


def as_json(model: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    """The answer with a model that was checked when it was made: FastAPI would check and convert it once more."""
    return Response(model.model_dump_json(), media_type="application/json", headers=headers)
