"""Mending what broke: runs that failed, were cancelled, or fell silent. Ending Dagster's runs is the sensors' part.

A batch whose run broke begins a new attempt with the items that are still open. After `max_attempts` it is split in two
halves of one attempt each, again and again, until the file that breaks the engine stands alone and fails alone. Where
no run came as far as to begin an item, no file is to blame, and there is nothing to look for by splitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import Session

from audiomill.database.tables import Batch, WorkItem
from audiomill.jobs.items import back_to_lane
from audiomill.jobs.states import OPEN_ITEMS
from audiomill.jobs.work import fail_open_item
from audiomill.settings import Settings

MOST_BEGINNINGS = 20
"""An item that was begun so often is not begun again: more than the attempts of a batch and all its splits (3 + 8 for
250 items), so only what is cancelled over and over, by hand or by a limit on a run's time, comes so far."""


_NEVER_FINISHED = (
    "Work on this input was begun many times and was ended before it finished. Split it into shorter parts and order "
    "them; if that fails too, write to us with the job id."
)
_NOT_STARTED = (
    "We could not begin to work on this input, through a fault of ours. Order it again later; if that fails too, "
    "write to us with the job id."
)


@dataclass(frozen=True)
class Expired:
    """A lease that lapsed. `run_id` is the run to end."""

    batch_id: str
    run_id: str
    stage: str


def run_failed(
    session: Session,
    *,
    run_id: str,
    reason: str,
    settings: Settings,
    batch_id: str | None = None,
    attempt: int | None = None,
) -> str | None:
    """A run broke: its batch begins a new attempt, or is split. Returns the batch, None if the run owned none.

    `batch_id` and `attempt` (the run's tags) find the batch of a run that broke before it could claim.
    """
    batch = _of_run(session, run_id, batch_id, attempt)
    if batch is None:
        return None
    _begin_again(session, batch, reason, settings)
    return batch.id


def run_cancelled(
    session: Session, *, run_id: str, batch_id: str | None = None, attempt: int | None = None
) -> str | None:
    """An operator cancelled a run: its open items go back to their lane. Returns the batch, None if it owned none.

    Each cancelled batch is soon followed by another of the same items: what was begun `MOST_BEGINNINGS` times fails.
    """
    batch = _of_run(session, run_id, batch_id, attempt)
    if batch is None:
        return None
    for item_id, begun in _open_items(session, batch.id):
        if begun >= MOST_BEGINNINGS:
            fail_open_item(session, item_id, code="never_finished", reason=_NEVER_FINISHED)
    back_to_lane(session, batch.id)
    _end(batch, "cancelled", f"The run {run_id} was cancelled; open items went back to their lane.")
    return batch.id


def _of_run(session: Session, run_id: str, batch_id: str | None, attempt: int | None) -> Batch | None:
    batch = session.scalar(select(Batch).where(Batch.run_id == run_id, Batch.state == "running").with_for_update())
    if batch is None and batch_id is not None:
        batch = session.scalar(
            # The attempt proves that the run was asked for, also before the batching sensor noted that it was.
            select(Batch)
            .where(Batch.id == batch_id, Batch.state == "formed", Batch.attempt == attempt)
            .with_for_update()
        )
    return batch


def expire_leases(session: Session, settings: Settings, *, limit: int = 50) -> list[Expired]:
    """Take up to `limit` batches from runs that fell silent. What another writer mends now is passed over."""
    lapsed = session.scalars(
        select(Batch)
        .where(Batch.state == "running", Batch.lease_expires_at < func.clock_timestamp())
        .order_by(Batch.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    expired = [Expired(batch.id, batch.run_id or "", batch.stage) for batch in lapsed]
    for batch in lapsed:
        _begin_again(session, batch, f"The run {batch.run_id} fell silent.", settings)
    return expired


def unstarted(session: Session, settings: Settings, *, limit: int = 1000) -> list[tuple[str, str]]:
    """(batch, run key) of batches for which a run was asked for long ago and that none has claimed, longest first.

    The limit is above what `batching.queue_factor` lets wait: looking at fewer would show the same ones each time,
    while their runs stand in Dagster's queue, and never the one behind them whose run was lost.
    """
    rows = session.execute(
        select(Batch.id, Batch.attempt)
        .where(
            Batch.state == "formed",
            Batch.requested_at
            < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, settings.lease.start_timeout_seconds),
        )
        .order_by(Batch.requested_at, Batch.id)
        .limit(limit)
    )
    return [(row.id, f"{row.id}:{row.attempt}") for row in rows]


def request_again(session: Session, batch_id: str, reason: str) -> None:
    """A batch whose run never came gets a new run key. This does not count against its items."""
    session.execute(
        text(
            "UPDATE batches SET attempt = attempt + 1, requested_at = NULL, note = :reason "
            "WHERE id = :id AND state = 'formed'"
        ),
        {"id": batch_id, "reason": reason},
    )


def _begin_again(session: Session, batch: Batch, reason: str, settings: Settings) -> None:
    open_ids = [item_id for item_id, _ in _open_items(session, batch.id)]
    # A silent run that wakes up must find itself fenced out from this moment on.
    batch.fencing += 1
    if not open_ids:
        _end(batch, "closed", f"{reason} Nothing was left open.")
    elif batch.attempt < settings.lease.max_attempts:
        session.execute(
            text("UPDATE work_items SET state = 'batched' WHERE batch_id = :batch AND state = 'running'"),
            {"batch": batch.id},
        )
        batch.state = "formed"
        batch.attempt += 1
        batch.requested_at = None
        batch.lease_expires_at = None
        batch.note = reason
    elif not session.scalar(select(exists().where(WorkItem.batch_id == batch.id, WorkItem.attempts > 0))):
        for item_id in open_ids:
            fail_open_item(session, item_id, code="not_started", reason=_NOT_STARTED)
        _end(batch, "closed", f"{reason} No run began an item; all were failed. Run the batch again when it is mended.")
    elif len(open_ids) == 1:
        fail_open_item(
            session,
            open_ids[0],
            code="engine_crashed",
            reason=(
                "The engine broke each time it worked on this input. Convert it to another format and order it again; "
                "if that fails too, write to us with the job id."
            ),
        )
        _end(batch, "closed", f"{reason} Its last item was failed.")
    else:
        half = len(open_ids) // 2
        for number, ids in enumerate((open_ids[:half], open_ids[half:])):
            _split_off(session, batch, number, ids, settings)
        _end(batch, "closed", f"{reason} It was split in two.")


def _open_items(session: Session, batch_id: str) -> list[tuple[str, int]]:
    """Ids of open items, locked, and how often each was begun."""
    rows = session.execute(
        select(WorkItem.id, WorkItem.attempts)
        .where(WorkItem.batch_id == batch_id, WorkItem.state.in_(OPEN_ITEMS))
        .order_by(WorkItem.created_at, WorkItem.id)
        .with_for_update()
    )
    return [(row.id, row.attempts) for row in rows]


def _split_off(session: Session, batch: Batch, number: int, ids: Sequence[str], settings: Settings) -> None:
    part = Batch(
        # The parent's id, so that a family of splits reads as one; a letter a level.
        id=f"{batch.id}{'ab'[number]}",
        lane=batch.lane,
        stage=batch.stage,
        engine=batch.engine,
        model=batch.model,
        resource_class=batch.resource_class,
        attempt=settings.lease.max_attempts,
        item_count=len(ids),
        audio_seconds=0.0,
        parent_id=batch.id,
        note=f"Split from {batch.id}.",
    )
    session.add(part)
    session.flush()
    session.execute(
        text("UPDATE work_items SET state = 'batched', batch_id = :part WHERE id = ANY(:ids)"),
        {"part": part.id, "ids": list(ids)},
    )
    session.execute(
        text(
            "UPDATE batches SET audio_seconds = "
            "(SELECT coalesce(sum(audio_seconds), 0) FROM work_items WHERE batch_id = :part) WHERE id = :part"
        ),
        {"part": part.id},
    )


def _end(batch: Batch, state: str, note: str) -> None:
    batch.state = state
    batch.note = note
    batch.lease_expires_at = None
    batch.finished_at = func.clock_timestamp()
