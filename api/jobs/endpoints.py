"""Looking at jobs, fetching outputs, cancelling. Ordering is in `ordering.py`, following in `following.py`."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.answers import as_json, keyed
from api.dependencies import GivenJobId, JobIdDep, PrincipalDep, ServicesDep, SessionDep, checked_job_id
from api.jobs.lines import RevisionNumber
from api.jobs.schemas import Filter, Job, JobList, Limit
from api.routes import DirectRoute, KeyedRoute
from audiomill.errors import NotFound
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.queries import JobView
from audiomill.jobs.reading import read_job, read_output, read_page
from audiomill.jobs.states import JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyedRoute)
direct = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=DirectRoute)


def _job(view: JobView) -> Job:
    outputs = [{**vars(output), "url": f"/v1/jobs/{view.id}/outputs/{quote(output.name)}"} for output in view.outputs]
    return Job.model_validate({**vars(view), "outputs": outputs})


@router.get("", response_model=JobList, responses=keyed(422))
async def list_jobs_newest_first(
    request: Request,
    principal: PrincipalDep,
    services: ServicesDep,
    after: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
    limit: Limit = 50,
    state: JobState | None = None,
    submission_id: Filter | None = None,
    batch_id: Filter | None = None,
    run_id: Filter | None = None,
) -> Response:
    """A page of the workspace's jobs. Jobs that are ordered meanwhile do not shift the pages."""
    page = await read_page(
        services.reader,
        principal.workspace_id,
        after=after,
        limit=limit,
        state=state,
        submission_id=submission_id,
        batch_id=batch_id,
        run_id=run_id,
    )
    headers = {}
    if page.next_after is not None:
        following = request.url.include_query_params(after=page.next_after)
        # Relative, so that it holds behind any proxy.
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return as_json(
        JobList.model_validate({"jobs": [vars(view) for view in page.jobs], "next": page.next_after}), headers
    )


@direct.get("/{job_id}", response_model=Job, responses=keyed(404))
async def get_one_job(job_id: GivenJobId, principal: PrincipalDep, services: ServicesDep) -> Response:
    """A job, with its outputs once it is complete."""
    return as_json(_job(await read_job(services.reader, principal.workspace_id, checked_job_id(job_id))))


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
async def fetch_an_output(
    job_id: JobIdDep,
    name: str,
    principal: PrincipalDep,
    services: ServicesDep,
    revision: RevisionNumber = None,
) -> RedirectResponse:
    """Redirects to a signed URL of the file of the current revision, or of another one by its number.

    The URL lives for minutes: do not keep it.
    """
    if "\0" in name:
        raise NotFound("There is no such output.", code="output_not_found")
    output = await read_output(services.reader, principal.workspace_id, job_id, name, revision=revision)
    # Signing asks nobody, in a folder or in S3.
    signed = services.store.signed_get(
        output.object_key, seconds=services.settings.storage.signed_url_seconds, filename=output.name
    )
    return RedirectResponse(signed.url, status_code=307, headers={"Cache-Control": "no-store"})
