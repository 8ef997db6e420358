"""Small rows of our own that nothing names any more: batches without items, turns of lanes long empty, workers gone.

And changes of what workspaces keep, which are folded into their sums.
"""

from datetime import datetime

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute

from audiomill.accounts.space import fold
from audiomill.database.tables import Base, Batch, EngineAvailability, LanePause, Turn, WorkItem
from audiomill.retention.sweeping import Freed, Ground, Sweep


def _empty_batches(ground: Ground, place: str | None) -> tuple[Freed, str | None]:
    """Retired ones: claims refuse them, so nothing can come to them any more."""
    empty = Batch.retired_at.is_not(None) & ~exists().where(WorkItem.batch_id == Batch.id)
    with ground.database.session() as session:
        page = session.execute(
            select(Batch.id, empty.label("empty"))
            .where(Batch.id > (place or ""))
            .order_by(Batch.id)
            .limit(ground.limit)
        ).all()
        ids = [row.id for row in page if row.empty]
        if ids and not ground.dry_run:
            session.execute(delete(Batch).where(Batch.id.in_(ids), empty))
    return Freed(rows=len(ids)), page[-1].id if len(page) == ground.limit else None


def _turns(ground: Ground, _place: str | None) -> tuple[Freed, str | None]:
    return _older(ground, Turn, Turn.served_at), None


def _pauses(ground: Ground, _place: str | None) -> tuple[Freed, str | None]:
    return _older(ground, LanePause, LanePause.until), None


def _workers(ground: Ground, _place: str | None) -> tuple[Freed, str | None]:
    return _older(ground, EngineAvailability, EngineAvailability.heartbeat_at), None


def _usage(ground: Ground, _place: str | None) -> tuple[Freed, str | None]:
    """Nothing is freed by it, and there is nothing in it that an operator might want to keep."""
    if not ground.dry_run:
        with ground.database.session() as session:
            fold(session)
    return Freed(), None


def _older(ground: Ground, table: type[Base], column: InstrumentedAttribute[datetime]) -> Freed:
    with ground.database.session() as session:
        statement = delete(table).where(
            column < func.now() - func.make_interval(0, 0, 0, ground.settings.retention.partition_days)
        )
        gone = session.connection().execute(statement).rowcount
        if ground.dry_run:
            session.rollback()
    return Freed(rows=int(gone))


SWEEPS = (
    Sweep("batches without items", "once they are retired", _empty_batches),
    Sweep("turns of lanes", "`partition_days` after they were served", _turns),
    Sweep("pauses of lanes", "`partition_days` after they were over", _pauses),
    Sweep("changes of what workspaces keep", "each minute, into a sum for each", _usage),
    Sweep("what machines said that are gone", "`partition_days` after they spoke last", _workers),
)
