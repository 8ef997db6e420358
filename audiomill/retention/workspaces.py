"""What a workspace keeps for so many days only: jobs that ended before, with their outputs, events and recordings.

All revisions of a job go together, when the newest has ended so long ago; none while one is being made.

Default: kept. Locks in the order of the house (items, then the job), and an upload before its recording, as orders
take them: a recording, in whatever role, goes when no other job names it, in the same transaction as its last job.
"""

from sqlalchemy import delete, exists, select, text
from sqlalchemy.orm import Session

from audiomill.database.tables import Job, JobInput, Output, Recording, Submission, Upload, WorkItem
from audiomill.errors import CustomerError
from audiomill.jobs.inputs import hold_for_deletion
from audiomill.retention.sweeping import DAY_SECONDS, Freed, Ground, Sweep
from audiomill.storage.keys import INBOX, TEXTS

# By age of order, which the index of pages has: what is deleted is at its end, so that the end stays short.
_ENDED = """
    finished_at < now() - make_interval(days => workspaces.retention_days)
    AND NOT EXISTS (
        SELECT FROM revisions WHERE job_id = jobs.id AND (state = 'open'
            OR finished_at > now() - make_interval(days => workspaces.retention_days)))
"""
_DUE = text(
    f"""
    SELECT job.id FROM workspaces CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE workspace_id = workspaces.id
          AND created_at < now() - make_interval(days => workspaces.retention_days)
          AND {_ENDED}
        ORDER BY created_at, id LIMIT :limit
    ) AS job
    WHERE workspaces.retention_days IS NOT NULL LIMIT :limit
    """  # noqa: S608 - a condition of our own
)
_STILL_DUE = text(
    f"""
    SELECT EXISTS (SELECT FROM jobs JOIN workspaces ON workspaces.id = workspace_id WHERE jobs.id = :job AND {_ENDED})
    """  # noqa: S608 - as above
)


def _sweep(ground: Ground, _place: str | None) -> tuple[Freed, str | None]:
    with ground.database.session() as session:
        due = list(session.scalars(_DUE, {"limit": ground.limit}))
    freed = Freed()
    for job_id in due:
        with ground.database.session() as session:
            freed += _gone(ground, session, job_id)
    return freed, None


def _gone(ground: Ground, session: Session, job_id: str) -> Freed:
    session.execute(select(WorkItem.id).where(WorkItem.job_id == job_id).order_by(WorkItem.id).with_for_update())
    job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
    # An operator may have run its batch again meanwhile, or its customer have edited it: then it ends anew.
    if job is None or not session.scalar(_STILL_DUE, {"job": job_id}):
        return Freed()
    freed = Freed(rows=1)
    for output in session.scalars(select(Output).where(Output.job_id == job_id)):
        freed += ground.object_gone(output.object_key) + Freed(rows=1)
    submission_id = job.submission_id
    brought = select(JobInput.recording_id).where(JobInput.job_id == job_id).distinct().order_by(JobInput.recording_id)
    recordings = session.scalars(brought).all()
    if not ground.dry_run:
        session.delete(job)
        session.flush()
        session.execute(
            delete(Submission).where(
                Submission.id == submission_id, ~exists().where(Job.submission_id == Submission.id)
            )
        )
    for recording_id in recordings:
        freed += _recording_gone(ground, session, recording_id, job_id)
    return freed


def _recording_gone(ground: Ground, session: Session, recording_id: str, job_id: str) -> Freed:
    key, workspace_id = session.execute(
        select(Recording.object_key, Recording.workspace_id).where(Recording.id == recording_id)
    ).one()
    if key.startswith(TEXTS):
        # Nothing else has the same name whenever it is ordered.
        hold_for_deletion(session, workspace_id)
    upload = session.scalar(select(Upload).where(Upload.object_key == key).with_for_update())
    unnamed = ~exists().where(JobInput.recording_id == Recording.id, JobInput.job_id != job_id)
    recording = session.scalar(select(Recording).where(Recording.id == recording_id, unnamed).with_for_update())
    if recording is None:
        return Freed()
    freed = Freed(rows=1)
    if _is_only_one(ground, session, recording):
        freed += ground.object_gone(recording.object_key)
    if not ground.dry_run:
        session.delete(recording)
        if upload is not None:
            session.delete(upload)
    return freed


def _is_only_one(ground: Ground, session: Session, recording: Recording) -> bool:
    """Whether the object holds this recording and nothing newer: dropped again, or put again for a new order."""
    others = exists().where(Recording.object_key == recording.object_key, Recording.id != recording.id)
    others = others.where(Recording.workspace_id == recording.workspace_id)
    if session.scalar(select(others)):
        return False
    try:
        info = ground.store.stat(recording.object_key)
        if info.age_seconds < DAY_SECONDS:
            return False
        if not recording.object_key.startswith(INBOX):
            return True
        return (info.version or ground.store.version(recording.object_key)) == recording.object_version
    except CustomerError:
        return False


SWEEPS = (Sweep("jobs, outputs and recordings of workspaces", "by the workspace's retention; default: kept", _sweep),)
