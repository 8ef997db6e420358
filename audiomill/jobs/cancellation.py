"""Cancelling a job: its customer's act, or an administrator's. Cancelling a run is recovery's."""

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from audiomill.database.tables import Job
from audiomill.errors import Conflict, NotFound
from audiomill.jobs.advance import drop
from audiomill.jobs.queries import JobView, get_job
from audiomill.jobs.transitions import transition


def cancel_job(session: Session, *, workspace_id: str, job_id: str) -> JobView:
    """Cancel a job and drop its open work; doing it again changes nothing.

    A run that works on it at this moment finds out when it next writes. Raises NotFound, Conflict (it has ended).
    """
    job = session.execute(select(Job.state).where(Job.id == job_id, Job.workspace_id == workspace_id)).one_or_none()
    if job is None:
        raise NotFound(f"There is no job {job_id!r} here.", code="job_not_found")
    # Items before jobs, as completing and failing do: the same order of locks everywhere.
    session.execute(
        text("SELECT id FROM work_items WHERE job_id = :job ORDER BY id FOR NO KEY UPDATE"), {"job": job_id}
    )
    moved = transition(session, [job_id], "cancelled")
    if moved:
        drop(session, job_id)
    view = get_job(session, workspace_id, job_id)
    if view.state != "cancelled":
        raise Conflict(f"The job {job_id} is {view.state} and can no longer be cancelled.", code="job_finished")
    return view
