"""How a job goes on when one of its items ends: what waited for it is queued, or all is dropped, or the job is over.

All of it happens in the transaction in which the item ends. Locks: the batch, then the items of the job and revision
that have not ended (its family, `hold`) in the order of their ids and in one statement, then jobs. So two siblings that
end at once go one after the other, and the second sees what the first left: what waits for both is queued once, and the
job completes once. Which moves there are is in states.py; what a run may write is in batches/working.py.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.catalogue.stages import ResourceClass
from audiomill.jobs.availability import EngineChoice
from audiomill.jobs.resolving import in_lane
from audiomill.jobs.revising import ORDER, end_revision
from audiomill.jobs.speeds import Speeds
from audiomill.jobs.states import UNENDED_ITEMS
from audiomill.jobs.transitions import lock_jobs, transition

_UNENDED = ", ".join(f"'{state}'" for state in UNENDED_ITEMS)

_HOLD = text(
    f"""
    SELECT id, job_id FROM work_items
    WHERE id = ANY(ARRAY(
        SELECT sibling.id FROM work_items AS named JOIN work_items AS sibling USING (job_id, revision)
        WHERE named.id = ANY(:ids)
        UNION SELECT id FROM work_items WHERE batch_id = :batch
    )) AND state IN ({_UNENDED})
    ORDER BY id FOR NO KEY UPDATE
    """  # noqa: S608 - states of our own
)

_DROP = text(
    f"""
    UPDATE work_items SET state = 'cancelled', progress = 0, finished_at = clock_timestamp()
    WHERE job_id = :job AND revision = coalesce(:revision, revision) AND state IN ({_UNENDED})
    """  # noqa: S608 - as above
)

# Counted anew each time rather than down: it cannot drift, and what an operator revives is counted by the same words.
_RELEASE = text(
    f"""
    WITH counted AS (
        SELECT reader.id, count(source.id) AS waits_for, max(read.audio_seconds) AS audio_seconds
        FROM work_items AS reader
        CROSS JOIN LATERAL (
            SELECT DISTINCT split_part(name, '/', 1) AS step FROM jsonb_array_elements_text(reader.reads) AS name
        ) AS wanted
        LEFT JOIN work_items AS read
            ON read.job_id = reader.job_id AND read.revision = reader.revision AND read.step = wanted.step
        LEFT JOIN work_items AS source ON source.id = read.id AND source.state IN ({_UNENDED})
        WHERE reader.job_id = ANY(:jobs) AND reader.state = 'waiting'
        GROUP BY reader.id
    )
    UPDATE work_items SET waits_for = counted.waits_for FROM counted WHERE work_items.id = counted.id
    RETURNING work_items.id, counted.waits_for, stage, engine, model, resource_class, tier,
        coalesce(counted.audio_seconds, work_items.audio_seconds) AS audio_seconds
    """  # noqa: S608 - as above
)

_QUEUE = text(
    """
    UPDATE work_items SET state = 'queued', created_at = clock_timestamp(), lane = :lane, length_class = :length_class,
        audio_seconds = :audio_seconds, expected_seconds = :expected_seconds
    WHERE id = :id
    """
)

_FAIL = text(
    """
    UPDATE work_items SET state = 'failed', finished_at = clock_timestamp(), failure_code = :code,
        failure_reason = :reason, progress = CASE WHEN optional THEN 1 ELSE 0 END
    WHERE id = :id AND state IN ('batched', 'running')
    RETURNING job_id, revision, step, stage, optional
    """
)


_WARN = text(
    """
    WITH found AS (
        UPDATE work_items SET warnings = warnings || CAST(:warnings AS jsonb) WHERE id = :item
        RETURNING job_id, revision
    )
    UPDATE jobs SET warnings = jobs.warnings || CAST(:warnings AS jsonb)
    FROM found WHERE jobs.id = found.job_id AND found.revision = :order
    """
)


@dataclass(frozen=True)
class Ended:
    """An item that ended: which step of which job. `alone`: nothing else of it was open, so nothing is looked for."""

    job_id: str
    step: str
    stage: str
    revision: int
    alone: bool = False


def hold(session: Session, item_ids: Collection[str], *, batch_id: str | None = None) -> int:
    """Lock the families of items (and the open items of a batch) until this transaction ends. Returns how many.

    Before anything of them is written, and all at once: who locks a second family later may wait in a circle.
    """
    rows = session.execute(_HOLD, {"ids": list(item_ids), "batch": batch_id}).all()
    if len({row.job_id for row in rows}) > 1:
        lock_jobs(session, {row.job_id for row in rows})
    return len(rows)


def ended(session: Session, item: Ended) -> None:
    """An item ended well, or may be left out: queue what waited for it; its job is complete when it was the last one.

    Its family is held.
    """
    if not item.alone:
        release(session, [item.job_id])
        if _has_open_items(session, item.job_id, item.revision):
            if item.revision == ORDER:
                transition(session, [item.job_id], "running")
            return
    if item.revision == ORDER:
        transition(session, [item.job_id], "complete", stage=item.stage, steps={item.job_id: item.step})
    else:
        end_revision(session, item.job_id, item.revision, "complete", stage=item.stage, step=item.step)


def fail(session: Session, item_id: str, *, code: str, reason: str) -> bool:
    """End an open item with a reason that its customer reads. False when it had ended already.

    An optional one leaves a warning; with any other its job fails, or its revision of a job that is complete, and its
    siblings are dropped.
    """
    hold(session, [item_id])
    row = session.execute(_FAIL, {"id": item_id, "code": code, "reason": reason}).one_or_none()
    if row is None:
        return False
    if row.optional:
        warn(session, item_id, [{"code": code, "sentence": f"The step {row.step!r} was left out. {reason}"}])
        ended(session, Ended(row.job_id, row.step, row.stage, row.revision))
        return True
    drop(session, row.job_id, row.revision)
    if row.revision != ORDER:
        end_revision(session, row.job_id, row.revision, "failed", code=code, reason=reason)
        return True
    transition(session, [row.job_id], "failed", stage=row.stage, steps={row.job_id: row.step}, code=code, reason=reason)
    return True


def drop(session: Session, job_id: str, revision: int | None = None) -> None:
    """Cancel what is open of a job, whoever works on it: runs learn of it by their heartbeat, or when they write."""
    session.execute(_DROP, {"job": job_id, "revision": revision})


def warn(session: Session, item_id: str, warnings: Sequence[dict[str, str]]) -> None:
    """Add what its customer should know of an item's result: to the job's, or to those of the revision to come."""
    session.execute(_WARN, {"item": item_id, "warnings": json.dumps(list(warnings)), "order": ORDER})


def release(session: Session, job_ids: Sequence[str]) -> None:
    """Queue what waits for nothing any more: as long as the longest that it reads, and as old as this moment."""
    ready = [row for row in session.execute(_RELEASE, {"jobs": list(job_ids)}) if row.waits_for == 0]
    speeds = Speeds.now(session) if ready else Speeds(())
    for row in ready:
        choice = EngineChoice(row.engine, row.model, cast("ResourceClass", row.resource_class))
        lane = in_lane(row.stage, choice, row.tier, row.audio_seconds, speeds)
        session.execute(_QUEUE, {"id": row.id, **lane})


def revive(session: Session, batch_id: str) -> None:
    """A batch is run again: what failed its job in it is tried again, and what was dropped with it goes on, too.

    An optional step that failed stays out: its job went on without it.
    """
    failed = "batch_id = :batch AND state = 'failed' AND NOT optional"
    held = session.execute(
        text(
            "SELECT id, job_id FROM work_items WHERE (job_id, revision) IN "  # noqa: S608 - a condition of our own
            f"(SELECT job_id, revision FROM work_items WHERE {failed}) ORDER BY id FOR NO KEY UPDATE"
        ),
        {"batch": batch_id},
    ).all()
    revived = list(transition(session, sorted({row.job_id for row in held}), "queued"))
    session.execute(
        text(
            "UPDATE work_items SET state = 'batched', hand_backs = 0, failure_code = NULL, "  # noqa: S608 - as above
            f"failure_reason = NULL, finished_at = NULL WHERE {failed} AND job_id = ANY(:jobs)"
        ),
        # What had been handed back too often was given up: the next fault alone must not do that again.
        {"batch": batch_id, "jobs": revived},
    )
    dropped = session.execute(
        text(
            "UPDATE work_items SET state = 'waiting', batch_id = NULL, started_at = NULL, finished_at = NULL, "
            "available_at = NULL WHERE id = ANY(:ids) AND state = 'cancelled' AND job_id = ANY(:jobs) RETURNING id"
        ),
        {"ids": [row.id for row in held], "jobs": revived},
    ).all()
    if dropped:
        release(session, revived)


def _has_open_items(session: Session, job_id: str, revision: int) -> bool:
    return bool(
        session.scalar(
            text(
                "SELECT EXISTS (SELECT FROM work_items "  # noqa: S608 - states of our own
                f"WHERE job_id = :job AND revision = :revision AND state IN ({_UNENDED}))"
            ),
            {"job": job_id, "revision": revision},
        )
    )
