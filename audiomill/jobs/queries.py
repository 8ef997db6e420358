"""Reading jobs and batches: views for the API, the CLI and Dagster's tables. Nothing here writes."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, literal, or_, select, text, tuple_
from sqlalchemy.orm import Session

from audiomill.database.tables import Batch, Job, Output, Recording, WorkItem
from audiomill.errors import BadRequest, Conflict, NotFound


@dataclass(frozen=True)
class OutputView:
    """One deliverable file."""

    name: str
    version: int
    media_type: str
    size_bytes: int
    sha256: str
    object_key: str


@dataclass(frozen=True)
class JobView:
    """A job with its input, its engine, where it runs, and its outputs (left empty in lists)."""

    id: str
    workspace_id: str
    submission_id: str
    recipe: str
    capability: str
    parameters: dict[str, Any]
    engine: str
    model: str | None
    state: str
    stage: str
    progress: float
    filename: str
    size_bytes: int
    duration_seconds: float | None
    failure_code: str | None
    failure_reason: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    batch_id: str | None
    run_id: str | None
    attempts: int
    outputs: tuple[OutputView, ...] = ()


@dataclass(frozen=True)
class JobPage:
    """A page of jobs, newest first. `next_after` is the cursor of the next page, None at the end."""

    jobs: tuple[JobView, ...]
    next_after: str | None


@dataclass(frozen=True)
class BatchRow:
    """A job of a batch without any of its customer's content, for Dagster."""

    job_id: str
    workspace_id: str
    state: str
    audio_seconds: float
    processing_seconds: float | None
    attempts: int
    failure_code: str | None


@dataclass(frozen=True)
class BatchView:
    """A batch as operators see it."""

    id: str
    stage: str
    engine: str
    model: str | None
    resource_class: str
    state: str
    attempt: int
    item_count: int
    audio_seconds: float
    fencing: int
    run_id: str | None
    note: str | None
    created_at: datetime
    finished_at: datetime | None


def _jobs() -> Select[Any]:
    return (
        select(Job, Recording, WorkItem, Batch.run_id)
        .join(Recording, Recording.id == Job.recording_id)
        .join(WorkItem, (WorkItem.job_id == Job.id) & (WorkItem.stage == Job.stage))
        .outerjoin(Batch, Batch.id == WorkItem.batch_id)
    )


def _view(row: Row[Any], outputs: tuple[OutputView, ...] = ()) -> JobView:
    job, recording, item, run_id = row
    return JobView(
        id=job.id,
        workspace_id=job.workspace_id,
        submission_id=job.submission_id,
        recipe=job.recipe,
        capability=job.capability,
        parameters=job.parameters,
        engine=item.engine,
        model=item.model,
        state=job.state,
        stage=job.stage,
        progress=job.progress,
        filename=job.filename,
        size_bytes=recording.size_bytes,
        duration_seconds=recording.duration_seconds,
        failure_code=job.failure_code,
        failure_reason=job.failure_reason,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        batch_id=item.batch_id,
        run_id=item.run_id or run_id,
        attempts=item.attempts,
        outputs=outputs,
    )


def _output_view(output: Output) -> OutputView:
    return OutputView(
        output.name, output.version, output.media_type, output.size_bytes, output.sha256, output.object_key
    )


def get_job(session: Session, workspace_id: str | None, job_id: str) -> JobView:
    """One job with its outputs. `workspace_id` None is the operator, who sees all. Raises NotFound."""
    statement = _jobs().where(Job.id == job_id)
    if workspace_id is not None:
        statement = statement.where(Job.workspace_id == workspace_id)
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id!r} here.", code="job_not_found")
    outputs = session.scalars(
        select(Output).where(Output.job_id == job_id).order_by(Output.name, Output.version.desc())
    )
    newest: dict[str, OutputView] = {}
    for output in outputs:
        newest.setdefault(output.name, _output_view(output))
    return _view(row, tuple(newest.values()))


def list_jobs(
    session: Session,
    workspace_id: str | None,
    *,
    after: str | None = None,
    limit: int = 50,
    state: str | None = None,
    submission_id: str | None = None,
    batch_id: str | None = None,
    run_id: str | None = None,
) -> JobPage:
    """Jobs newest first, by keyset: a page costs the same however deep it lies. Raises BadRequest (bad cursor)."""
    statement = _jobs().order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
    wanted = (
        (Job.workspace_id, workspace_id),
        (Job.state, state),
        (Job.submission_id, submission_id),
        (WorkItem.batch_id, batch_id),
    )
    for column, value in wanted:
        if value is not None:
            statement = statement.where(column == value)
    if run_id is not None:
        # A run that ended a job stays its run when the batch is run again; until it is begun, its batch's run counts.
        statement = statement.where(
            or_(WorkItem.run_id == run_id, and_(WorkItem.run_id.is_(None), Batch.run_id == run_id))
        )
    if after is not None:
        statement = statement.where(
            tuple_(Job.created_at, Job.id) < tuple_(*(literal(part) for part in _decoded(after)))
        )
    rows = session.execute(statement).all()
    views = tuple(_view(row) for row in rows[:limit])
    return JobPage(views, _encoded(views[-1]) if len(rows) > limit else None)


def _encoded(view: JobView) -> str:
    return base64.urlsafe_b64encode(json.dumps([view.created_at.isoformat(), view.id]).encode()).decode()


def _decoded(cursor: str) -> tuple[datetime, str]:
    try:
        at, job_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        # PostgreSQL's text takes no NUL and no half of a character, which JSON can say.
        if not isinstance(job_id, str) or not job_id.isascii() or "\0" in job_id:
            raise ValueError("not a job id")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
    except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
        raise BadRequest("The page cursor is not one of ours. Begin at the first page.", code="bad_cursor") from error
    return moment, job_id


def get_output(session: Session, workspace_id: str, job_id: str, name: str) -> OutputView:
    """The newest version of a deliverable. Raises NotFound, Conflict (the job is not complete)."""
    job = session.execute(
        select(Job.state, Job.failure_reason).where(Job.id == job_id, Job.workspace_id == workspace_id)
    ).one_or_none()
    if job is None:
        raise NotFound(f"There is no job {job_id!r} here.", code="job_not_found")
    if job.state != "complete":
        why = f" {job.failure_reason}" if job.failure_reason else ""
        raise Conflict(f"The job {job_id} is {job.state}, so it has no outputs.{why}", code="job_not_complete")
    output = session.scalar(
        select(Output).where(Output.job_id == job_id, Output.name == name).order_by(Output.version.desc()).limit(1)
    )
    if output is None:
        raise NotFound(f"The job {job_id} has no output {name!r}.", code="output_not_found")
    return _output_view(output)


def batch_jobs(session: Session, batch_id: str) -> list[BatchRow]:
    """The jobs of a batch, for Dagster's table: ids, times and codes only."""
    rows = session.execute(
        select(WorkItem).where(WorkItem.batch_id == batch_id).order_by(WorkItem.created_at, WorkItem.id)
    ).scalars()
    return [
        BatchRow(
            item.job_id,
            item.workspace_id,
            item.state,
            item.audio_seconds,
            item.processing_seconds,
            item.attempts,
            item.failure_code,
        )
        for item in rows
    ]


def get_batch(session: Session, batch_id: str) -> BatchView:
    """One batch, as it is in this transaction. Raises NotFound."""
    batch = session.scalar(select(Batch).where(Batch.id == batch_id).execution_options(populate_existing=True))
    if batch is None:
        raise NotFound(f"There is no batch {batch_id!r}.", code="batch_not_found")
    return BatchView(
        id=batch.id,
        stage=batch.stage,
        engine=batch.engine,
        model=batch.model,
        resource_class=batch.resource_class,
        state=batch.state,
        attempt=batch.attempt,
        item_count=batch.item_count,
        audio_seconds=batch.audio_seconds,
        fencing=batch.fencing,
        run_id=batch.run_id,
        note=batch.note,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
    )


def live_batches(session: Session) -> list[BatchView]:
    """Batches that some run should be working on now, for reconciling with Dagster."""
    ids = session.scalars(text("SELECT id FROM batches WHERE state = 'running' ORDER BY id"))
    return [get_batch(session, batch_id) for batch_id in ids]
