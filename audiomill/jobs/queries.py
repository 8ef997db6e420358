"""Reading jobs and batches: views for commands and Dagster's tables, and what a job is when it is shown. No writing.

The API reads by the same statements without the ORM: reading.py.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from audiomill.database.tables import Batch, Job, Output, Recording, WorkItem
from audiomill.errors import NotFound

_STEPS = """(
    SELECT json_agg(json_build_object(
        'name', step.step, 'stage', step.stage, 'state', step.state, 'progress', step.progress,
        'optional', step.optional, 'engine', step.engine, 'model', step.model, 'attempts', step.attempts,
        'batch_id', step.batch_id, 'run_id', coalesce(step.run_id, batch.run_id),
        'failure_code', step.failure_code, 'failure_reason', step.failure_reason) ORDER BY step.id)
    FROM work_items AS step LEFT JOIN batches AS batch ON batch.id = step.batch_id
    WHERE step.job_id = jobs.id AND step.revision = jobs.revision
)"""


# The first is the order, and is as its job is; those after it have rows of their own.
_REVISIONS = """(
    SELECT json_agg(json_build_object(
        'revision', each.revision, 'state', each.state, 'base', each.base, 'edited_lines', each.edited_lines,
        'progress', each.progress, 'failure_code', each.failure_code, 'failure_reason', each.failure_reason,
        'created_at', each.created_at, 'finished_at', each.finished_at) ORDER BY each.revision)
    FROM (
        SELECT 1 AS revision, CASE WHEN jobs.state IN ('queued', 'running') THEN 'open' ELSE jobs.state END AS state,
            NULL::integer AS base, 0 AS edited_lines, jobs.progress, jobs.failure_code, jobs.failure_reason,
            jobs.created_at, jobs.finished_at
        UNION ALL
        SELECT made.revision, made.state, base, edited_lines,
            (SELECT coalesce(sum(weight * step.progress) / sum(weight), 0) FROM work_items AS step
             WHERE step.job_id = made.job_id AND step.revision = made.revision AND step.made_in = made.revision),
            made.failure_code, made.failure_reason, made.created_at, made.finished_at
        FROM revisions AS made WHERE made.job_id = jobs.id
    ) AS each
)"""


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
    """A job with its first input, and the engine of the step that moved last and where that ran.

    revision: the current one. outputs, steps (in the order of its plan): of that; left empty in lists, as revisions.
    """

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
    warnings: list[dict[str, str]]
    revision: int
    outputs: tuple[OutputView, ...] = ()
    steps: list[dict[str, Any]] = field(default_factory=list)
    revisions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class BatchRow:
    """A job of a batch, or one of its steps, without any of its customer's content, for Dagster."""

    job_id: str
    workspace_id: str
    state: str
    audio_seconds: float
    processing_seconds: float | None
    attempts: int
    failure_code: str | None
    step: str = ""
    revision: int = 1


@dataclass(frozen=True)
class BatchView:
    """A batch as operators see it."""

    id: str
    stage: str
    engine: str
    model: str | None
    resource_class: str
    state: str
    item_count: int
    audio_seconds: float
    fencing: int
    run_id: str | None
    note: str | None
    created_at: datetime
    finished_at: datetime | None


def jobs_shown() -> Select[Any]:
    """All jobs as they are shown: a column for each field of JobView but its outputs."""
    return (
        select(
            Job.id,
            Job.workspace_id,
            Job.submission_id,
            Job.recipe,
            Job.capability,
            Job.parameters,
            WorkItem.engine,
            WorkItem.model,
            Job.state,
            Job.stage,
            Job.progress,
            Job.filename,
            Recording.size_bytes,
            Recording.duration_seconds,
            Job.failure_code,
            Job.failure_reason,
            Job.created_at,
            Job.started_at,
            Job.finished_at,
            WorkItem.batch_id,
            func.coalesce(WorkItem.run_id, Batch.run_id).label("run_id"),
            WorkItem.attempts,
            Job.warnings,
            Job.revision,
        )
        .join(Recording, Recording.id == Job.recording_id)
        # The step that moved last: of a job that failed the one that failed it.
        .join(
            WorkItem,
            (WorkItem.job_id == Job.id) & (WorkItem.revision == Job.revision) & (WorkItem.step == Job.step),
        )
        .outerjoin(Batch, Batch.id == WorkItem.batch_id)
    )


def job_shown() -> Select[Any]:
    """As `jobs_shown`, with the steps and the revisions: for one job, by the same statement."""
    return jobs_shown().add_columns(
        literal_column(_STEPS).label("steps"), literal_column(_REVISIONS).label("revisions")
    )


def of_revision(revision: ColumnElement[int] | InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Whether an output is one of that revision of its job: made by it, or by the one that its step comes from."""
    made_in = (
        select(WorkItem.made_in)
        .where(WorkItem.job_id == Output.job_id, WorkItem.revision == revision, WorkItem.step == Output.step)
        .scalar_subquery()
    )
    return Output.version == func.coalesce(made_in, literal_column("1"))


def outputs_shown() -> Select[Any]:
    """The outputs of a job's current revision (`job_id`), by name: a column for each field of OutputView."""
    return (
        select(Output.name, Output.version, Output.media_type, Output.size_bytes, Output.sha256, Output.object_key)
        .join(Job, Job.id == Output.job_id)
        .where(Output.job_id == bindparam("job_id"), of_revision(Job.revision))
        .order_by(Output.name)
    )


def get_job(session: Session, workspace_id: str | None, job_id: str) -> JobView:
    """One job with its outputs. `workspace_id` None is the operator, who sees all. Raises NotFound."""
    statement = job_shown().where(Job.id == job_id)
    if workspace_id is not None:
        statement = statement.where(Job.workspace_id == workspace_id)
    row = session.execute(statement).one_or_none()
    if row is None:
        raise job_not_found(job_id)
    outputs = session.execute(outputs_shown(), {"job_id": job_id})
    return JobView(**row._mapping, outputs=tuple(OutputView(**output._mapping) for output in outputs))


def job_not_found(job_id: str) -> NotFound:
    """The error for a job that is not there, or is not this workspace's: which of both is nobody's business."""
    return NotFound(f"There is no job {job_id!r} here.", code="job_not_found")


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
            item.step,
            item.revision,
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
        item_count=batch.item_count,
        audio_seconds=batch.audio_seconds,
        fencing=batch.fencing,
        run_id=batch.run_id,
        note=batch.note,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
    )


def owning_runs(session: Session) -> set[str]:
    """The runs that own a batch now, for reconciling with Dagster."""
    return set(session.scalars(text("SELECT run_id FROM batches WHERE state = 'running'")))
