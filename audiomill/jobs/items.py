"""Moves of work items that leases and recovery share. What a run does with an item is in work.py."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.jobs.transitions import transition

_BACK = text(
    """
    UPDATE work_items SET state = 'queued', batch_id = NULL, started_at = NULL
    WHERE batch_id = :batch AND state IN ('batched', 'running')
    RETURNING job_id
    """
)


def back_to_lane(session: Session, batch_id: str) -> int:
    """Open items of a batch wait in their lane again, at the place that their age gives them. Returns how many."""
    jobs = [row.job_id for row in session.execute(_BACK, {"batch": batch_id})]
    transition(session, jobs, "queued", progress=0.0)
    return len(jobs)
