"""Moves of work items that leases and recovery share. What a run does with an item is in batches/working.py."""

from collections.abc import Collection
from typing import Literal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from audiomill.database.tables import WorkItem
from audiomill.jobs import advance
from audiomill.jobs.states import OPEN_ITEMS
from audiomill.jobs.transitions import lock_jobs, transition
from audiomill.settings import Settings

# Locked in one order, so that two bulk moves cannot wait for each other in a circle.
_BACK = text(
    """
    WITH open AS MATERIALIZED (
        SELECT id FROM work_items WHERE batch_id = :batch AND state IN ('batched', 'running')
            AND (CAST(:ids AS text[]) IS NULL OR id = ANY(:ids))
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE work_items SET state = 'queued', batch_id = NULL, started_at = NULL, progress = 0,
        interruptions = interruptions + CASE WHEN id = ANY(:interrupted) AND state = 'running' THEN 1 ELSE 0 END,
        hand_backs = hand_backs + CASE WHEN id = ANY(:late) THEN 1 ELSE 0 END,
        hand_back_note = CASE WHEN id = ANY(:late) THEN :note ELSE hand_back_note END,
        available_at = CASE WHEN id = ANY(:late) THEN clock_timestamp() + make_interval(secs =>
            least(:most, :pause * power(2, least(hand_backs, 30)))) END
    WHERE id IN (SELECT id FROM open)
    RETURNING job_id
    """
)

_AT_WORK = text("SELECT DISTINCT job_id FROM work_items WHERE job_id = ANY(:jobs) AND state IN ('running', 'complete')")

GIVEN_UP = (
    "We could not work on this input through a fault of ours, however often we tried, and have given up. Nothing is "
    "charged for it. Order it again later, or write to us with the job id."
)

HandedBack = Literal["waits", "given_up", "had_ended"]
"""What became of an item that was handed back."""


def back_to_lane(session: Session, batch_id: str, *, interrupted: Collection[str] = ()) -> int:
    """Open items of a batch wait in their lane again, at the place that their age gives them. Returns how many.

    `interrupted`: those of them that were begun when their run died, or was lost; it is counted, and nobody is blamed.
    """
    return _back(session, batch_id, None, interrupted=list(interrupted), late=[], note=None, pause=0.0, most=0.0)


def hand_back(
    session: Session, batch_id: str, item_id: str, why: str, settings: Settings, *, interrupted: bool = True
) -> HandedBack:
    """One item goes back alone, to be batched after a while that doubles each time; past the bound it is given up.

    `why` is for operators. `interrupted`: it counts as an interruption, of which three are enough to work on it alone.
    """
    lease = settings.lease
    advance.hold(session, [item_id])
    hand_backs = session.scalar(
        select(WorkItem.hand_backs).where(
            WorkItem.id == item_id, WorkItem.batch_id == batch_id, WorkItem.state.in_(OPEN_ITEMS)
        )
    )
    if hand_backs is None:
        return "had_ended"
    if hand_backs >= lease.max_hand_backs:
        advance.fail(session, item_id, code="given_up", reason=GIVEN_UP)
        return "given_up"
    _back(
        session,
        batch_id,
        [item_id],
        interrupted=[item_id] if interrupted else [],
        late=[item_id],
        note=why,
        pause=lease.pause_seconds,
        most=lease.pause_most_seconds,
    )
    return "waits"


def _back(session: Session, batch_id: str, ids: list[str] | None, **given: object) -> int:
    rows = session.execute(_BACK, {"batch": batch_id, "ids": ids, **given}).all()
    jobs = lock_jobs(session, {row.job_id for row in rows}) if rows else []
    # A job of several steps goes on while another of them does, or when one is done.
    at_work = set(session.scalars(_AT_WORK, {"jobs": jobs})) if jobs else set()
    transition(session, [job for job in jobs if job not in at_work], "queued")
    return len(rows)
