"""How a revision of a complete job ends: it becomes the job's current one, or the one before stays that.

The job is complete all the while, so none of its own moves is made here, and none of its events. How a revision begins
is revisions.py's part; how it goes on is advance.py's. Locks: its items, then the job, then its row.
"""

from typing import Any, Final, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.errors import Conflict, NotFound
from audiomill.jobs.transitions import lock_jobs

ORDER: Final = 1
"""The first revision, which is the order: it is as its job is. Those after it have rows of their own."""

RevisionState = Literal["open", "complete", "failed", "cancelled"]

# What is said of orders in these cases would send who edited a line to order the whole anew.
_OF_EDITS: Final = {
    "engine_crashed": "The engine broke each time it worked on this edit. Edit the lines in other words; if that fails "
    "too, write to us with the job id and the number of the revision.",
    "given_up": "We could not make this edit through a fault of ours, however often we tried, and have given up. "
    "Nothing is charged for it. Make the edit again later, or write to us with the job id.",
}

_END = text(
    """
    UPDATE revisions SET state = :to, failure_code = :code, failure_reason = :reason, finished_at = clock_timestamp()
    WHERE job_id = :job AND revision = :revision AND state = 'open'
    RETURNING revision
    """
)

# What is to be known of its outputs is what its steps found, those that it took over among them.
_MAKE_CURRENT = text(
    """
    UPDATE jobs SET revision = :revision, stage = :stage, step = :step, warnings = (
        SELECT coalesce(jsonb_agg(warning ORDER BY item.id, place), '[]')
        FROM work_items AS item CROSS JOIN LATERAL jsonb_array_elements(item.warnings)
            WITH ORDINALITY AS found (warning, place)
        WHERE item.job_id = jobs.id AND item.revision = :revision
    )
    WHERE id = :job
    """
)


def end_revision(
    session: Session,
    job_id: str,
    revision: int,
    to: Literal["complete", "failed", "cancelled"],
    **said: Any,  # noqa: ANN401 - `stage` and `step` that it ended with; `code` and `reason` of a failure
) -> bool:
    """End an open revision whose items have ended or were dropped. False when it had ended already."""
    lock_jobs(session, [job_id])
    values = {"job": job_id, "revision": revision, "to": to, "code": None, "reason": None, **said}
    values["reason"] = _OF_EDITS.get(values["code"], values["reason"])
    if session.scalar(_END, values) is None:
        return False
    if to == "complete":
        session.execute(_MAKE_CURRENT, values)
    return True


def revision_not_found(job_id: str, revision: int | None) -> NotFound:
    """The error for a number that no edit of the job has."""
    return NotFound(f"The job {job_id} has no revision {revision}.", code="revision_not_found")


def revision_not_complete(job_id: str, revision: int | None, state: str, reason: str | None) -> Conflict:
    """The error for one that is being made, or came to nothing."""
    said = "being made" if state == "open" else state
    return Conflict(
        f"Revision {revision} of the job {job_id} is {said}.{f' {reason}' if reason else ''}",
        code="revision_not_complete",
    )
