"""Events of jobs that ended long ago: all but the last, which tells a late follower how it ended."""

from datetime import UTC, datetime

from sqlalchemy import delete, func, literal, select, tuple_

from audiomill.database.tables import Job, JobEvent
from audiomill.retention.sweeping import Freed, Ground, Sweep

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def _sweep(ground: Ground, place: str | None) -> tuple[Freed, str | None]:
    at, after = place.split(" ") if place else (_BEGIN.isoformat(), "")
    days = ground.settings.retention.event_days
    with ground.database.session() as session:
        ended = session.execute(
            select(Job.id, Job.finished_at)
            .where(
                Job.finished_at.is_not(None),
                tuple_(Job.finished_at, Job.id) > tuple_(literal(datetime.fromisoformat(at)), literal(after)),
                Job.finished_at < func.now() - func.make_interval(0, 0, 0, days),
            )
            .order_by(Job.finished_at, Job.id)
            .limit(ground.limit)
        ).all()
        old = (
            JobEvent.job_id.in_([row.id for row in ended]),
            JobEvent.seq < select(Job.event_seq).where(Job.id == JobEvent.job_id).scalar_subquery(),
        )
        if ground.dry_run:
            rows = int(session.scalar(select(func.count()).select_from(JobEvent).where(*old)) or 0)
        else:
            rows = len(session.execute(delete(JobEvent).where(*old).returning(JobEvent.seq)).all())
    if ended:
        place = f"{ended[-1].finished_at.isoformat()} {ended[-1].id}"
    return Freed(rows=rows), place


SWEEP = Sweep("events of old jobs", "`event_days` after the job ended, but the last", _sweep)
