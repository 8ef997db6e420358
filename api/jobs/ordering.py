"""POST /v1/jobs: one order, from one to many jobs, once per Idempotency-Key."""

import re
from dataclasses import dataclass
from typing import Annotated, TypedDict

import structlog
from fastapi import APIRouter, Header, Response
from fastapi.concurrency import run_in_threadpool
from ulid import ULID

from api.answers import keyed_with_body
from api.dependencies import PrincipalDep, Services, ServicesDep, database_turn
from api.jobs.schemas import JobReference, Order, Submission, TextInput, UploadInput
from api.routes import KeyedRoute
from audiomill.errors import BadRequest, LimitExceeded
from audiomill.jobs.inputs import (
    UploadView,
    find_uploads,
    hold_uploads,
    keep_text,
    received,
    store_text,
    text_input,
    wait_for_deletions,
)
from audiomill.jobs.submission import InputObject, NewJob, Submitted, check, decide, make, submit
from audiomill.settings import Settings

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyedRoute)

log = structlog.get_logger(__name__)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_QUICK_CHARACTERS = 64 * 1024
"""Texts up to here are looked at in a millisecond: no thread is worth it."""

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
        **keyed_with_body(403, 404, 409),
    },
)
async def order_jobs(
    order: Order,
    response: Response,
    principal: PrincipalDep,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> Submission:
    """Order a recipe for each of the inputs, or one job of inputs by their roles. All jobs are made, or none."""
    _check_count(order, services)
    request = _Request(services, principal.workspace_id, _key(idempotency_key), order)
    # The store is asked between the transactions, never within one; and it is given a text only when its order stands.
    submitted = await (_with_uploads(request) if request.upload_ids else _of_texts(request))
    return _answer(submitted, response)


async def _of_texts(request: "_Request") -> Submitted:
    """By two statements on the event loop; threads only for what takes long there."""
    many = sum(map(len, request.texts.values())) > _QUICK_CHARACTERS
    jobs = await run_in_threadpool(request.jobs, []) if many else request.jobs([])
    decided = await decide(request.services.reader, source="api", **request.of(jobs))
    if isinstance(decided, Submitted):
        return decided
    await run_in_threadpool(request.store_texts, jobs)
    submitted = await make(request.services.writer, decided)
    await _keep_texts(request, jobs)
    return submitted


async def _with_uploads(request: "_Request") -> Submitted:
    """By transactions, for uploads are held while the order is made."""
    services = request.services
    async with database_turn(services):
        uploads = await run_in_threadpool(request.find_uploads)
    jobs = await run_in_threadpool(request.jobs, uploads)
    if request.texts:
        async with database_turn(services):
            submitted = await run_in_threadpool(request.check, jobs)
        if submitted is not None:
            return submitted
        await run_in_threadpool(request.store_texts, jobs)
    async with database_turn(services):
        submitted = await run_in_threadpool(request.submit, jobs, uploads)
    if request.texts:
        await _keep_texts(request, jobs)
    return submitted


async def _keep_texts(request: "_Request", jobs: list[NewJob]) -> None:
    """Now that the order stands: what was deleted before it did is put again.

    Whatever goes wrong here, who ordered is told that the order stands: else they would order again.
    """
    try:
        async with database_turn(request.services):
            await run_in_threadpool(request.wait_for_deletions)
    except Exception as error:  # noqa: BLE001 - see above
        log.warning("deletions_not_waited_for", error=type(error).__name__)
    try:
        await run_in_threadpool(request.keep_texts, jobs)
    except Exception as error:  # noqa: BLE001 - see above
        log.warning("texts_not_looked_at_again", error=type(error).__name__)


@dataclass(frozen=True)
class _Request:
    """One order and the steps that it takes; each that asks the database is a transaction of its own."""

    services: Services
    workspace_id: str
    key: str
    order: Order

    @property
    def texts(self) -> dict[int, str]:
        """Inline texts by their place."""
        return {place: given.text for place, given in enumerate(self.order.inputs) if isinstance(given, TextInput)}

    @property
    def upload_ids(self) -> list[str]:
        """The uploads that it names."""
        return [given.upload_id for given in self.order.inputs if isinstance(given, UploadInput)]

    def of(self, jobs: list[NewJob]) -> "_Ordered":
        """What is said of an order, whoever makes it."""
        return _Ordered(
            workspace_id=self.workspace_id, idempotency_key=self.key, jobs=jobs, settings=self.services.settings
        )

    def find_uploads(self) -> list[UploadView]:
        """The uploads that it names, as they are now."""
        with self.services.database.session() as session:
            return find_uploads(session, workspace_id=self.workspace_id, upload_ids=self.upload_ids)

    def jobs(self, uploads: list[UploadView]) -> list[NewJob]:
        """What is ordered. Looks at uploads in the store; texts are not stored yet."""
        settings, remaining = self.services.settings, iter(uploads)
        inputs = [
            received(self.services.store, next(remaining))
            if isinstance(given, UploadInput)
            else text_input(workspace_id=self.workspace_id, text=given.text, settings=settings, filename=given.name)
            for given in self.order.inputs
        ]
        if not self.order.is_one_job:
            return [NewJob(self.order.recipe, self.order.parameters, given) for given in inputs]
        roles = [given.role for given in self.order.inputs]
        others = tuple(zip(roles[1:], inputs[1:], strict=True))
        return [NewJob(self.order.recipe, self.order.parameters, inputs[0], roles[0], others)]

    def check(self, jobs: list[NewJob]) -> Submitted | None:
        """What it came to before, if it is a repeat. Raises what would refuse it."""
        with self.services.database.session() as session:
            return check(session, **self.of(jobs))

    def store_texts(self, jobs: list[NewJob]) -> None:
        """Put its texts into the store."""
        for place, text in self.texts.items():
            store_text(self.services.store, _inputs_of(jobs)[place], text)

    def wait_for_deletions(self) -> None:
        """Until nobody deletes a text that was not ordered when he looked."""
        with self.services.database.session() as session:
            wait_for_deletions(session, self.workspace_id)

    def keep_texts(self, jobs: list[NewJob]) -> None:
        """Put those again that were deleted meanwhile."""
        for place, text in self.texts.items():
            keep_text(self.services.store, _inputs_of(jobs)[place], text)

    def submit(self, jobs: list[NewJob], uploads: list[UploadView]) -> Submitted:
        """Make the jobs."""
        with self.services.database.session() as session:
            hold_uploads(session, uploads)
            return submit(session, source="api", **self.of(jobs))


def _inputs_of(jobs: list[NewJob]) -> list[InputObject]:
    """In the order in which they were given."""
    return [given for job in jobs for _, given in job.inputs]


class _Ordered(TypedDict):
    workspace_id: str
    idempotency_key: str
    jobs: list[NewJob]
    settings: Settings


def _answer(submitted: Submitted, response: Response) -> Submission:
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
