"""What the documentation says of the API as a whole. What an operation says stands with the operation."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.answers import problems
from api.problems import Problem

DESCRIPTION = """
1. `POST /v1/uploads` announces a recording; send its bytes to the signed URL that comes back.
2. `POST /v1/jobs` orders a recipe for one or many uploads or texts. Send an `Idempotency-Key`, so that a repeat after a
   lost answer orders nothing twice. Each input is a job of its own; as soon as one has a `role`, all of them make one
   job: a film and its subtitles.
3. `GET /v1/jobs/{id}/events` tells what happens as it happens, by server-sent events.
4. `GET /v1/jobs/{id}/outputs/{name}` redirects to the file. Beside each lies `<name>.receipt.json`, whose signature is
   checked with a key of `GET /v1/receipt-keys`.
5. `GET` and `PATCH /v1/jobs/{id}/lines` show and edit the lines of a dub: an edit makes the job's next revision.

Every error is a problem document (RFC 9457) with a stable `code` for programs and a `detail` for people.
"""

TAGS = [
    {"name": "uploads", "description": "Recordings on their way in"},
    {"name": "jobs", "description": "Ordering, following, fetching, cancelling"},
    {"name": "catalogue", "description": "What can be ordered, and what it is done with"},
    {"name": "receipts", "description": "Proof of how an output was made"},
    {"name": "objects", "description": "Signed URLs of the local store"},
    {"name": "health", "description": "For load balancers and supervisors"},
]


def operation_id(route: APIRoute) -> str:
    """The name of the endpoint's function: stable names for generated clients."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once. FastAPI's own form of validation errors gives way to ours."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = made["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"), Problem=problem)
        for operations in made["paths"].values():
            for operation in operations.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    operation["responses"]["422"] = problems(422)[422]
        app.openapi_schema = made
    return app.openapi_schema
