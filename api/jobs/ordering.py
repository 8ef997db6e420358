"""POST /v1/jobs: one order, from one to many jobs, once per Idempotency-Key."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Response
from sqlalchemy.orm import Session
from ulid import ULID

from api.answers import keyed_with_body
from api.dependencies import PrincipalDep, Services, ServicesDep, SessionDep
from api.jobs.schemas import JobReference, Order, Submission, UploadInput
from api.routes import KeyedRoute
from audiomill.errors import BadRequest, LimitExceeded
from audiomill.jobs.inputs import stored_text, uploaded_object
from audiomill.jobs.submission import InputObject, NewJob, submit

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyedRoute)

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="up to 255 visible ASCII characters of your own; repeat it to repeat the order safely",
        examples=["3f0c7a52-6a0b-4a52-8f8b-0d5f3f8f1a11"],
    ),
]


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": Submission, "description": "Repeated: the answer that the first order got"},
        **keyed_with_body(404, 409),
    },
)
def order_jobs(
    order: Order,
    response: Response,
    principal: PrincipalDep,
    session: SessionDep,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> Submission:
    """Order a recipe for each of the inputs. All jobs are made, or none."""
    _check_count(order, services)
    submitted = submit(
        session,
        workspace_id=principal.workspace_id,
        source="api",
        idempotency_key=_key(idempotency_key),
        jobs=[
            NewJob(order.recipe, order.parameters, given)
            for given in _inputs(session, services, principal.workspace_id, order)
        ],
        settings=services.settings,
    )
    if not submitted.created:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = (
        f"/v1/jobs/{submitted.job_ids[0]}"
        if len(submitted.job_ids) == 1
        else f"/v1/jobs?submission_id={submitted.submission_id}"
    )
    return Submission(
        submission_id=submitted.submission_id,
        jobs=[
            JobReference(id=job_id, url=f"/v1/jobs/{job_id}", events_url=f"/v1/jobs/{job_id}/events")
            for job_id in submitted.job_ids
        ],
    )


def _check_count(order: Order, services: Services) -> None:
    # Before any input is read from or written to the store.
    limit = services.settings.limits.max_jobs_per_submission
    if len(order.inputs) > limit:
        raise LimitExceeded(
            f"The order has {len(order.inputs)} inputs; one order may have {limit}. Split it into several.",
            code="too_many_jobs",
        )


def _inputs(session: Session, services: Services, workspace_id: str, order: Order) -> list[InputObject]:
    return [
        uploaded_object(session, services.store, workspace_id=workspace_id, upload_id=given.upload_id)
        if isinstance(given, UploadInput)
        else stored_text(
            services.store,
            workspace_id=workspace_id,
            text=given.text,
            settings=services.settings,
            filename=given.name,
        )
        for given in order.inputs
    ]


def _key(header: str | None) -> str:
    """The key that the client chose, or one that nobody can repeat.

    The header is a structured field string (in quotes) by draft-ietf-httpapi-idempotency-key-header; most clients send
    it bare. Both are the same key.
    """
    if header is None:
        return f"none-{ULID()}"
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not _KEY.fullmatch(key):
        raise BadRequest(
            "The Idempotency-Key is not 1 to 255 visible ASCII characters. A UUID is a good one.",
            code="bad_idempotency_key",
        )
    return key
