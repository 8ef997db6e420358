"""Looking at jobs, fetching outputs, cancelling. Ordering is in `ordering.py`, following in `following.py`."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.answers import keyed
from api.dependencies import JobIdDep, PrincipalDep, ServicesDep, SessionDep
from api.jobs.schemas import Filter, Job, JobList, JobSummary, Limit, Output
from api.routes import KeyedRoute
from audiomill.errors import NotFound
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.queries import JobView, get_job, get_output, list_jobs
from audiomill.jobs.states import JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyedRoute)


def _job(view: JobView) -> Job:
    outputs = [
        Output(
            name=output.name,
            version=output.version,
            media_type=output.media_type,
            size_bytes=output.size_bytes,
            sha256=output.sha256,
            url=f"/v1/jobs/{view.id}/outputs/{quote(output.name)}",
        )
        for output in view.outputs
    ]
    return Job(**JobSummary.model_validate(view).model_dump(), outputs=outputs)


@router.get("", responses=keyed(422))
def list_jobs_newest_first(
    request: Request,
    response: Response,
    principal: PrincipalDep,
    session: SessionDep,
    after: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
    limit: Limit = 50,
    state: JobState | None = None,
    submission_id: Filter | None = None,
    batch_id: Filter | None = None,
    run_id: Filter | None = None,
) -> JobList:
    """A page of the workspace's jobs. Jobs that are ordered meanwhile do not shift the pages."""
    page = list_jobs(
        session,
        principal.workspace_id,
        after=after,
        limit=limit,
        state=state,
        submission_id=submission_id,
        batch_id=batch_id,
        run_id=run_id,
    )
    if page.next_after is not None:
        following = request.url.include_query_params(after=page.next_after)
        # Relative, so that it holds behind any proxy.
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return JobList(jobs=[JobSummary.model_validate(view) for view in page.jobs], next=page.next_after)


@router.get("/{job_id}", responses=keyed(404))
def get_one_job(job_id: JobIdDep, principal: PrincipalDep, session: SessionDep) -> Job:
    """A job, with its outputs once it is complete."""
    return _job(get_job(session, principal.workspace_id, job_id))


@router.delete("/{job_id}", responses=keyed(404, 409))
def cancel_one_job(job_id: JobIdDep, principal: PrincipalDep, session: SessionDep) -> Job:
    """Cancel a job; a second time changes nothing. A job that has ended otherwise is left as it is (409)."""
    return _job(cancel_job(session, workspace_id=principal.workspace_id, job_id=job_id))


@router.get(
    "/{job_id}/outputs/{name}",
    status_code=307,
    response_class=RedirectResponse,
    responses={
        307: {
            "description": "Go to the signed URL in `Location`, without the API key",
            "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
        },
        **keyed(404, 409),
    },
)
def fetch_an_output(
    job_id: JobIdDep, name: str, principal: PrincipalDep, session: SessionDep, services: ServicesDep
) -> RedirectResponse:
    """Redirects to a signed URL of the newest version of the file. The URL lives for minutes: do not keep it."""
    if "\0" in name:
        raise NotFound("There is no such output.", code="output_not_found")
    output = get_output(session, principal.workspace_id, job_id, name)
    signed = services.store.signed_get(
        output.object_key, seconds=services.settings.storage.signed_url_seconds, filename=output.name
    )
    return RedirectResponse(signed.url, status_code=307, headers={"Cache-Control": "no-store"})
