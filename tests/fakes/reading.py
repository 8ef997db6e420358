"""What a transaction reads: rows by table, counted by PostgreSQL. Steady where seconds are not."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

_COUNTED = text(
    "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables"
)


@contextmanager
def rows_read(session: Session) -> Iterator[dict[str, int]]:
    """Rows read while the block lasts, by table; filled when it ends."""
    before = {row.relname: row.rows for row in session.execute(_COUNTED)}
    read: dict[str, int] = {}
    yield read
    for row in session.execute(_COUNTED):
        if count := row.rows - before.get(row.relname, 0):
            read[row.relname] = count
