"""The events of a job, as server-sent events replay them. They are written by `transition` alone."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from audiomill.database.tables import Job, JobEvent
from audiomill.errors import NotFound
from audiomill.jobs.transitions import CHANNEL

__all__ = ["CHANNEL", "EventView", "events_after"]


@dataclass(frozen=True)
class EventView:
    """One event. `seq` counts from 1 without gaps; `progress` is the share of the stage that is done."""

    job_id: str
    seq: int
    state: str
    stage: str
    progress: float
    reason: str | None
    at: datetime


def events_after(session: Session, *, workspace_id: str, job_id: str, seq: int) -> list[EventView]:
    """The events of a job after number `seq`, in order. Raises NotFound."""
    owned = session.scalar(select(Job.id).where(Job.id == job_id, Job.workspace_id == workspace_id))
    if owned is None:
        raise NotFound(f"There is no job {job_id!r} here.", code="job_not_found")
    rows = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq).order_by(JobEvent.seq))
    return [EventView(row.job_id, row.seq, row.state, row.stage, row.progress, row.reason, row.at) for row in rows]
