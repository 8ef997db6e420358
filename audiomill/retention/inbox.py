"""Entries of the inbox whose object is gone: noted first, deleted when it stayed away.

A disk that is not mounted for a while must not make all its files new ones. And what a listing leaves out need not be
gone: its folder may be closed to us for now. So each that is missing is asked for by itself.
"""

from sqlalchemy import delete, func, select, text, update

from audiomill.database.tables import InboxEntry
from audiomill.errors import CustomerError, NotFound, StorageUnavailable
from audiomill.retention.sweeping import Freed, Ground, Sweep
from audiomill.storage.keys import INBOX

_END = INBOX[:-1] + chr(ord("/") + 1)
"""Greater than all keys of the inbox."""


def _sweep(ground: Ground, place: str | None) -> tuple[Freed, str | None]:
    page = ground.store.list_page(INBOX, after=place, limit=ground.limit)
    # S3 takes U+0000 in a key, PostgreSQL does not: such an object has no entry.
    present = [info.key for info in page.objects if "\0" not in info.key]
    # By bytes, as the store orders keys; the database's own order of texts may be another.
    key = InboxEntry.object_key
    between = (key.bool_op("~>~")(place or INBOX), key.bool_op("~<=~")(page.next_after or _END))
    absent = (*between, InboxEntry.object_key.not_in(present))
    stayed_away = InboxEntry.gone_at < func.now() - func.make_interval(
        0, 0, 0, ground.settings.retention.inbox_entry_days
    )
    with ground.database.session() as session:
        missing = session.execute(
            select(key, stayed_away.label("stayed_away"))
            .where(*absent, InboxEntry.gone_at.is_(None) | stayed_away)
            # By bytes, as the range: the last one is where a piece that cannot take all of them ends.
            .order_by(text("object_key USING ~<~"))
            .limit(ground.limit)
        ).all()
    # A folder that is closed for now may hold more than that: what lies behind it is the next piece's.
    ends = missing[-1].object_key if len(missing) == ground.limit else page.next_after
    # Not within a transaction: the store may take its time.
    gone = [row for row in missing if _is_gone(ground, row.object_key)]
    out = [row.object_key for row in gone if row.stayed_away]
    if ground.dry_run:
        return Freed(rows=len(out)), ends
    with ground.database.session() as session:
        went = session.execute(delete(InboxEntry).where(key.in_(out), stayed_away).returning(key)).all()
        first = [row.object_key for row in gone if not row.stayed_away]
        session.execute(
            update(InboxEntry)
            .where(key.in_(first), InboxEntry.gone_at.is_(None))
            .values(gone_at=func.clock_timestamp())
        )
        session.execute(
            update(InboxEntry)
            .where(InboxEntry.object_key.in_(present), InboxEntry.gone_at.is_not(None))
            .values(gone_at=None)
        )
    return Freed(rows=len(went)), ends


def _is_gone(ground: Ground, key: str) -> bool:
    try:
        ground.store.stat(key)
    except NotFound:
        return True
    except (CustomerError, StorageUnavailable):
        # Refused, or not to be had: it is there, or nobody knows.
        return False
    return False


SWEEPS = (Sweep("inbox entries", "`inbox_entry_days` after their object was gone", _sweep),)
