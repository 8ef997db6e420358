"""Uploads that no order named: the row and its object, some days after the URL expired.

The row is locked as an order locks it (jobs/inputs.py: `hold_uploads`): either the order is first, and the upload
stays, or the sweep is, and the order is told that there is no such upload.
"""

from datetime import UTC, datetime

from sqlalchemy import exists, func, literal, select, tuple_

from audiomill.database.tables import Recording, Upload
from audiomill.retention.sweeping import Freed, Ground, Sweep

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def _sweep(ground: Ground, place: str | None) -> tuple[Freed, str | None]:
    at, after = place.split(" ") if place else (_BEGIN.isoformat(), "")
    days = ground.settings.retention.upload_days
    with ground.database.session() as session:
        due = session.execute(
            select(Upload.id, Upload.expires_at)
            .where(
                tuple_(Upload.expires_at, Upload.id) > tuple_(literal(datetime.fromisoformat(at)), literal(after)),
                Upload.expires_at < func.now() - func.make_interval(0, 0, 0, days),
            )
            .order_by(Upload.expires_at, Upload.id)
            .limit(ground.limit)
        ).all()
    freed = Freed()
    for row in due:
        freed += _gone(ground, row.id)
    if due:
        place = f"{due[-1].expires_at.isoformat()} {due[-1].id}"
    return freed, place


def _gone(ground: Ground, upload_id: str) -> Freed:
    used = exists().where(Recording.workspace_id == Upload.workspace_id, Recording.object_key == Upload.object_key)
    with ground.database.session() as session:
        upload = session.scalar(select(Upload).where(Upload.id == upload_id).with_for_update())
        if upload is None or session.scalar(select(used).where(Upload.id == upload_id)):
            return Freed()
        freed = ground.object_gone(upload.object_key)
        if not ground.dry_run:
            session.delete(upload)
    return freed + Freed(rows=1)


SWEEP = Sweep("uploads never ordered", "`upload_days` after their URL expired", _sweep)
