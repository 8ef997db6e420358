"""Entries of the inbox whose object is gone: noted first, deleted when it stayed away.

A disk that is not mounted for a while must not make all its files new ones.
"""

from sqlalchemy import delete, func, update

from audiomill.database.tables import InboxEntry
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
        gone = session.execute(delete(InboxEntry).where(*absent, stayed_away).returning(InboxEntry.object_key)).all()
        if ground.dry_run:
            session.rollback()
            return Freed(rows=len(gone)), page.next_after
        session.execute(
            update(InboxEntry).where(*absent, InboxEntry.gone_at.is_(None)).values(gone_at=func.clock_timestamp())
        )
        session.execute(
            update(InboxEntry)
            .where(InboxEntry.object_key.in_(present), InboxEntry.gone_at.is_not(None))
            .values(gone_at=None)
        )
    return Freed(rows=len(gone)), page.next_after


SWEEPS = (Sweep("inbox entries", "`inbox_entry_days` after their object was gone", _sweep),)
