"""Old batches whose partition keys are taken from Dagster, so that its lists stay short."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.settings import Settings


def retirable(session: Session, settings: Settings, *, limit: int = 500) -> list[tuple[str, str]]:
    """(batch, stage) of batches that ended long ago and are not retired yet, oldest first."""
    # now(), not clock_timestamp(), which may change from row to row and so cannot bound an index scan.
    rows = session.execute(
        text(
            "SELECT id, stage FROM batches WHERE state IN ('closed', 'cancelled') AND retired_at IS NULL "
            "AND finished_at < now() - make_interval(days => :days) ORDER BY finished_at LIMIT :limit"
        ),
        {"days": settings.retention.partition_days, "limit": limit},
    )
    return [(row.id, row.stage) for row in rows]


def mark_retired(session: Session, batch_ids: Sequence[str]) -> None:
    """Note that Dagster knows these no longer: they are never claimed again."""
    session.execute(
        text("UPDATE batches SET retired_at = clock_timestamp() WHERE id = ANY(:ids) AND state <> 'running'"),
        {"ids": list(batch_ids)},
    )
