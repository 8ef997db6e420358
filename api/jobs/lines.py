"""The lines of a job, and its revisions: looking at lines, editing them, cancelling what an edit makes."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool

from api.answers import as_json, keyed, keyed_with_body
from api.dependencies import JobIdDep, PrincipalDep, ServicesDep, SessionDep, database_turn
from api.jobs.line_schemas import EditOfLines, JobLines, LineEdits
from api.routes import KeyedRoute
from audiomill.errors import BadRequest
from audiomill.jobs.lines import edit_lines, read_lines
from audiomill.jobs.revising import revision_not_found
from audiomill.jobs.revisions import cancel_revision

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyedRoute)

RevisionNumber = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="number of a complete revision; default: the current one")
]
_ETAG = re.compile(r'"?([0-9]{1,9})"?')


@router.get("/{job_id}/lines", response_model=JobLines, responses=keyed(404, 409))
async def get_the_lines(
    job_id: JobIdDep, principal: PrincipalDep, services: ServicesDep, revision: RevisionNumber = None
) -> Response:
    """The lines of a dub as they came out: who says what and when. `ETag` is the revision, for `If-Match`."""
    async with database_turn(services):
        found = await run_in_threadpool(
            read_lines,
            services.database,
            services.store,
            workspace_id=principal.workspace_id,
            job_id=job_id,
            revision=revision,
        )
    lines = JobLines(job_id=found.job_id, revision=found.revision, **dict(found.document))
    return await run_in_threadpool(as_json, lines, {"ETag": f'"{found.revision}"'})


@router.patch(
    "/{job_id}/lines",
    status_code=202,
    responses={
        200: {"model": EditOfLines, "description": "Nothing is made: a dry run, or an edit that changes nothing"},
        **keyed_with_body(403, 404, 409),
    },
)
async def edit_the_lines(
    job_id: JobIdDep,
    edits: LineEdits,
    response: Response,
    principal: PrincipalDep,
    services: ServicesDep,
    dry_run: Annotated[bool, Query(description="only tell what it would change and cost")] = False,
    if_match: Annotated[
        str | None,
        Header(
            description="the `ETag` of the lines that were edited: who edited them meanwhile is not overwritten",
            examples=['"1"'],
        ),
    ] = None,
) -> EditOfLines:
    """Edit lines of a complete job, which makes its next revision: what changed, the mix and the film.

    The job stays as it is, with its outputs, until the revision is complete; should it fail, it stays so. One revision
    is made at a time.
    """
    async with database_turn(services):
        came = await run_in_threadpool(
            edit_lines,
            services.database,
            services.store,
            services.settings,
            workspace_id=principal.workspace_id,
            job_id=job_id,
            edits=edits.lines,
            expected=_revision(if_match),
            dry_run=dry_run,
        )
    if came.revision is None:
        response.status_code = 200
    return EditOfLines.model_validate(came)


@router.delete("/{job_id}/revisions/{revision}", status_code=204, responses=keyed(404, 409))
def cancel_a_revision(job_id: JobIdDep, revision: int, principal: PrincipalDep, session: SessionDep) -> None:
    """Cancel a revision that is being made; the job keeps the one that it has. A second time changes nothing."""
    if not 0 < revision < 2**31:
        raise revision_not_found(job_id, revision)
    cancel_revision(session, workspace_id=principal.workspace_id, job_id=job_id, revision=revision)


def _revision(if_match: str | None) -> int | None:
    """The revision that an `If-Match` names. Raises BadRequest."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise BadRequest(
            "The If-Match is not the ETag of lines. Send the one that came with the lines, or none.",
            code="bad_if_match",
        )
    return int(found[1])
