"""`transition`: with `submit` the only writer of job state. Money and notices will join its transaction here."""

import json
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.jobs.states import FINISHED, JobState, sources

CHANNEL = "audiomill_jobs"
"""PostgreSQL's NOTIFY channel; the payload is the job id."""

_SHARE = (
    "(SELECT coalesce(sum(weight * work_items.progress) / sum(weight), 0) FROM work_items "
    "WHERE work_items.job_id = jobs.id AND work_items.revision = jobs.revision)"
)
"""Of all steps, weighed."""

# One statement: the move, its event under the job's next number, and the notification, or none of them.
_MOVE = text(
    f"""
    WITH moved AS (
        UPDATE jobs SET
            state = :to,
            stage = coalesce(CAST(:stage AS text), stage),
            step = coalesce(CAST(:steps AS jsonb) ->> id, step),
            -- It never falls while a job is at work, whatever is begun again.
            progress = CASE :to WHEN 'complete' THEN 1 WHEN 'queued' THEN {_SHARE}
                WHEN 'running' THEN greatest(progress, {_SHARE}) ELSE progress END,
            failure_code = :code,
            failure_reason = :reason,
            started_at = CASE WHEN :to = 'running' THEN coalesce(started_at, clock_timestamp()) ELSE started_at END,
            finished_at = CASE WHEN :finished THEN clock_timestamp() END,
            event_seq = event_seq + 1
        WHERE id = ANY(:ids) AND state = ANY(:sources)
        RETURNING id, event_seq, state, stage, progress, failure_reason
    ), told AS (
        INSERT INTO job_events (job_id, seq, state, stage, progress, reason)
        SELECT id, event_seq, state, stage, progress, failure_reason FROM moved
    )
    SELECT id, pg_notify(:channel, id) FROM moved
    """  # noqa: S608 - an expression of our own
)


def transition(
    session: Session,
    job_ids: Sequence[str],
    to: JobState,
    *,
    stage: str | None = None,
    steps: Mapping[str, str] | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> set[str]:
    """Move jobs to a state, each with an event and a notification.

    A job whose state does not allow the move (jobs/states.py) is left as it is: the ids of those moved come back, and
    the caller decides what the others mean. `stage`, and `steps` by job: what moved it. `code` and `reason` are what a
    failed job tells its customer. Waits for concurrent moves of the same jobs: exactly one of two that exclude each
    other passes.
    """
    if not job_ids:
        return set()
    rows = session.execute(
        _MOVE,
        {
            # In one order everywhere, so that two bulk moves cannot wait for each other in a circle.
            "ids": list(job_ids) if len(job_ids) == 1 else lock_jobs(session, job_ids),
            "to": to,
            "sources": sources(to),
            "stage": stage,
            "steps": json.dumps(dict(steps or {})),
            "code": code,
            "reason": reason,
            "finished": to in FINISHED,
            "channel": CHANNEL,
        },
    )
    return {row.id for row in rows}


def lock_jobs(session: Session, job_ids: Collection[str]) -> list[str]:
    """Lock jobs in the order of their ids until this transaction ends."""
    locked = session.execute(
        text("SELECT id FROM jobs WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"), {"ids": list(job_ids)}
    )
    return [row.id for row in locked]
