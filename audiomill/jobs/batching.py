"""Forming batches: which work items run together, in one SQL statement. Starting runs for them is the sensors' part.

Fair: within a lane workspaces take turns, so that one customer's thousand files do not stand before another's one.
Tiered: lanes of higher tiers are served first. Sized by backlog: a lane's backlog is shared out over the slots of its
resource class, within `min_items` and `max_items`. Bounded: nothing is formed for a class whose queue is long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.settings import Settings

_LOCK = 7_236_120_002

_FORM = text(
    """
    WITH RECURSIVE
    -- Every (lane, workspace) that has something queued: a loose index scan, one look-up each, however long the queue.
    heads AS (
        (SELECT lane, workspace_id FROM work_items WHERE state = 'queued' ORDER BY lane, workspace_id LIMIT 1)
        UNION ALL
        SELECT following.lane, following.workspace_id
        FROM heads, LATERAL (
            SELECT lane, workspace_id FROM work_items
            WHERE state = 'queued' AND (lane, workspace_id) > (heads.lane, heads.workspace_id)
            ORDER BY lane, workspace_id LIMIT 1
        ) AS following
    ),
    -- The oldest of each, locked; what another transaction (a cancellation) holds is passed over this time.
    taken AS (
        SELECT item.*, row_number() OVER (
                   PARTITION BY item.lane, item.workspace_id ORDER BY item.created_at, item.id
               ) AS turn
        FROM heads, LATERAL (
            SELECT id, lane, workspace_id, stage, engine, model, resource_class, tier, length_class, audio_seconds,
                   created_at
            FROM work_items
            WHERE state = 'queued' AND lane = heads.lane AND workspace_id = heads.workspace_id
            ORDER BY created_at, id LIMIT :depth
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS item
    ),
    slots (resource_class, slots) AS (
        VALUES ('cpu', CAST(:cpu_slots AS int)), ('gpu', :gpu_slots), ('remote', :cpu_slots)
    ),
    -- How full each class is: waiting batches bound what is formed; a free slot means that nobody need wait.
    load AS (
        SELECT slots.resource_class, slots.slots,
               count(batches.id) FILTER (WHERE batches.state = 'formed') AS waiting,
               count(batches.id) AS open
        FROM slots LEFT JOIN batches
            ON batches.resource_class = slots.resource_class AND batches.state IN ('formed', 'running')
        GROUP BY slots.resource_class, slots.slots
    ),
    lanes AS (
        SELECT taken.lane, max(load.slots) AS slots, max(load.open) AS open, max(load.waiting) AS waiting,
               -- Shared out over the slots, but not into crumbs: what takes long is worth a run of its own.
               ceil(count(*)::numeric / greatest(
                   1,
                   ceil(count(*)::numeric / :max_items),
                   least(
                       max(load.slots),
                       count(*) / CASE WHEN max(taken.length_class) = 'short' THEN :min_items ELSE 1 END
                   )
               ))::bigint AS size,
               min(taken.created_at) AS oldest,
               max(taken.tier) AS tier
        FROM taken JOIN load USING (resource_class)
        GROUP BY taken.lane
    ),
    placed AS (
        SELECT taken.*,
               row_number() OVER fair - 1 AS place,
               sum(taken.audio_seconds) OVER (PARTITION BY taken.lane ORDER BY turn, created_at, id
                                              ROWS UNBOUNDED PRECEDING) - taken.audio_seconds AS seconds_before
        FROM taken
        WINDOW fair AS (PARTITION BY taken.lane ORDER BY turn, created_at, id)
    ),
    -- Cut by count and by audio; a batch is what falls between two cuts.
    cut AS (
        SELECT placed.*, lanes.size, (place / lanes.size) AS by_count,
               floor(seconds_before / :max_seconds)::bigint AS by_seconds
        FROM placed JOIN lanes USING (lane)
    ),
    drafts AS (
        SELECT cut.lane, by_count, by_seconds, cut.stage, cut.engine, cut.model, cut.resource_class,
               count(*) AS items, sum(audio_seconds) AS seconds, min(cut.created_at) AS oldest,
               max(cut.tier) AS tier
        FROM cut GROUP BY cut.lane, by_count, by_seconds, cut.stage, cut.engine, cut.model, cut.resource_class
    ),
    ready AS (
        SELECT drafts.*,
               row_number() OVER (
                   PARTITION BY drafts.resource_class ORDER BY drafts.tier DESC, drafts.oldest, by_count, by_seconds
               ) AS rank,
               load.waiting, load.slots
        FROM drafts JOIN load USING (resource_class)
        WHERE load.open < load.slots
           OR drafts.items >= :max_items
           OR drafts.seconds >= :max_seconds
           OR drafts.oldest <= clock_timestamp() - make_interval(secs => :max_wait)
    ),
    chosen AS MATERIALIZED (
        SELECT ready.*, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS') || '-'
                        || left(replace(gen_random_uuid()::text, '-', ''), 12) AS id
        FROM ready
        WHERE rank + waiting <= slots * :queue_factor
        ORDER BY tier DESC, oldest LIMIT :limit
    ),
    formed AS (
        INSERT INTO batches (id, lane, stage, engine, model, resource_class, item_count, audio_seconds)
        SELECT id, lane, stage, engine, model, resource_class, items, seconds FROM chosen
        RETURNING id
    ),
    moved AS (
        UPDATE work_items SET state = 'batched', batch_id = chosen.id
        FROM cut JOIN chosen USING (lane, by_count, by_seconds)
        WHERE work_items.id = cut.id
    )
    SELECT id FROM formed ORDER BY id
    """
)


@dataclass(frozen=True)
class StartableBatch:
    """A batch without a run. `run_key` is new with every attempt, because Dagster never starts a key twice."""

    id: str
    stage: str
    resource_class: str
    engine: str
    attempt: int

    @property
    def run_key(self) -> str:
        """Dagster's run key of this attempt."""
        return f"{self.id}:{self.attempt}"


def form_batches(session: Session, settings: Settings, *, limit: int = 50) -> list[str]:
    """Form up to `limit` batches and return their ids. Empty when another writer is forming at this moment."""
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
        return []
    batching = settings.batching
    rows = session.execute(
        _FORM,
        {
            "depth": batching.max_items * settings.cpu.cpu_runs * batching.queue_factor,
            "cpu_slots": settings.cpu.cpu_runs,
            "gpu_slots": settings.cpu.gpu_runs,
            "max_items": batching.max_items,
            "min_items": batching.min_items,
            "max_seconds": batching.max_audio_seconds,
            "max_wait": batching.max_wait_seconds,
            "queue_factor": batching.queue_factor,
            "limit": limit,
        },
    )
    return [row.id for row in rows]


def startable(session: Session, *, limit: int = 50) -> list[StartableBatch]:
    """Batches that are formed and for whose attempt no run was asked yet, oldest first."""
    rows = session.execute(
        text(
            "SELECT id, stage, resource_class, engine, attempt FROM batches "
            "WHERE state = 'formed' AND requested_at IS NULL ORDER BY created_at, id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [StartableBatch(*row) for row in rows]


def mark_requested(session: Session, batch_ids: Sequence[str]) -> None:
    """Note that a run was asked for, so that the next tick does not ask again."""
    session.execute(
        text("UPDATE batches SET requested_at = clock_timestamp() WHERE id = ANY(:ids) AND state = 'formed'"),
        {"ids": list(batch_ids)},
    )
