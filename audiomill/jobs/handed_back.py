"""What waits because of a fault of ours that concerns it alone: for operators, before it is given up. No writing.

Handing back is in items.py; what is a fault of one item only, the runs decide (ops/work.py).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from audiomill.database.tables import WorkItem


@dataclass(frozen=True)
class Trouble:
    """An item that was handed back. `next_try_at`: None where it is being tried, or may be at once."""

    job_id: str
    times: int
    why: str | None
    next_try_at: datetime | None


def troubles(session: Session, *, limit: int, job_id: str | None = None) -> list[Trouble]:
    """Items that were handed back and are still open, the most often handed back first."""
    statement = (
        select(WorkItem.job_id, WorkItem.hand_backs, WorkItem.hand_back_note, WorkItem.available_at)
        .where(WorkItem.hand_backs > 0, WorkItem.state.in_(("queued", "batched", "running")))
        .order_by(WorkItem.hand_backs.desc())
        .limit(limit)
    )
    if job_id is not None:
        statement = statement.where(WorkItem.job_id == job_id)
    return [Trouble(*row) for row in session.execute(statement)]
