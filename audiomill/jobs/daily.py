"""What the daily tables are made from: counts of intake, and the transcripts that were finished on a day (UTC).

Reading only. Making files of it is the assets' part.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.orm import Session
from ulid import ULID

from audiomill.database.tables import Artifact, Job, Recording, WorkItem


@dataclass(frozen=True)
class Intake:
    """What came in on one day. `newest_id` is None when nothing did."""

    recordings: int
    workspaces: int
    size_bytes: int
    newest_id: str | None


@dataclass(frozen=True)
class FinishedTranscript:
    """A transcript that was finished. `object_key` holds its JSON."""

    job_id: str
    workspace_id: str
    engine: str
    model: str | None
    object_key: str
    finished_at: datetime


def newest_recording(session: Session) -> str | None:
    """Id of the recording made last: one look at the end of the primary key."""
    return session.scalar(select(func.max(Recording.id)))


def intake_of(session: Session, day: date) -> Intake:
    """Counts of the recordings that came in on `day`.

    Ids are ULIDs: a day is a range of the primary key, so that a table of years is not read for it.
    """
    row = session.execute(
        select(
            func.count(),
            func.count(Recording.workspace_id.distinct()),
            func.coalesce(func.sum(Recording.size_bytes), 0),
            func.max(Recording.id),
        ).where(Recording.id >= _first_id(day), Recording.id < _first_id(day + timedelta(days=1)))
    ).one()
    return Intake(int(row[0]), int(row[1]), int(row[2]), row[3])


def _first_id(day: date) -> str:
    start = ULID.from_datetime(datetime.combine(day, time.min, UTC))
    return f"rec_{str(start)[:10].lower()}"


def day_of_recording(recording_id: str) -> date:
    """The day (UTC) on which a recording came in, from its id."""
    return ULID.from_str(recording_id.removeprefix("rec_").upper()).datetime.astimezone(UTC).date()


def finished_transcripts(
    session: Session, day: date, *, after: FinishedTranscript | None = None, limit: int = 500
) -> list[FinishedTranscript]:
    """A page of the transcripts of jobs completed on `day`, in order of completion; `after` is the last one seen."""
    start = datetime.combine(day, time.min, UTC)
    statement = (
        select(Job, WorkItem, Artifact.object_key)
        .join(
            WorkItem,
            (WorkItem.job_id == Job.id) & (WorkItem.revision == Job.revision) & (WorkItem.stage == "transcribe"),
        )
        .join(Artifact, Artifact.key == WorkItem.artifact_key)
        .where(
            Job.state == "complete",
            Job.capability == "transcribe",
            Job.finished_at >= start,
            Job.finished_at < start + timedelta(days=1),
        )
        .order_by(Job.finished_at, Job.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(
            tuple_(Job.finished_at, Job.id) > tuple_(literal(after.finished_at), literal(after.job_id))
        )
    return [
        FinishedTranscript(job.id, job.workspace_id, item.engine, item.model, object_key, job.finished_at)
        for job, item, object_key in session.execute(statement)
        if job.finished_at is not None
    ]
