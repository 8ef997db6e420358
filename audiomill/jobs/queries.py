"""Reading jobs and batches: views for commands and Dagster's tables, and what a job is when it is shown. No writing.

The API reads by the same statements without the ORM: reading.py.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    DateTime,
    Select,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from audiomill.database.tables import Batch, Job, Output, Recording, WorkItem
from audiomill.errors import BadRequest, NotFound

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
class JobPage:
    """A page of jobs, newest first. `next_after` is the cursor of the next page, None at the end."""

    jobs: tuple[JobView, ...]
    next_after: str | None


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
    values = page_values(
        limit=limit,
        after=after,
        workspace_id=workspace_id,
        state=state,
        submission_id=submission_id,
        batch_id=batch_id,
        run_id=run_id,
    )
    rows = session.execute(page_statement(frozenset(values)), values).all()
    return page_of([JobView(**row._mapping) for row in rows], limit)


def page_values(*, limit: int, after: str | None, **wanted: str | None) -> dict[str, Any]:
    """The values of a page's statement: only those that are given. Raises BadRequest (bad cursor)."""
    values: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if after is not None:
        values["after_time"], values["after_id"] = _decoded(after)
    return {**values, "one_more": limit + 1}


@cache
def page_statement(given: frozenset[str]) -> Select[Any]:
    """The statement of a page for the names of its values."""
    statement = jobs_shown().order_by(Job.created_at.desc(), Job.id.desc()).limit(bindparam("one_more"))
    columns = {
        "workspace_id": Job.workspace_id,
        "state": Job.state,
        "submission_id": Job.submission_id,
    }
    for name, column in columns.items():
        if name in given:
            statement = statement.where(column == bindparam(name))
    # Whichever step of the job was in that batch, or that run.
    item, batch = aliased(WorkItem), aliased(Batch)
    if "batch_id" in given:
        statement = statement.where(Job.id.in_(select(item.job_id).where(item.batch_id == bindparam("batch_id"))))
    if "run_id" in given:
        # A run that ended a job stays its run when the batch is run again; until it is begun, its batch's run counts.
        run_id: BindParameter[str] = bindparam("run_id")
        begun = select(item.job_id).where(item.run_id == run_id)
        not_begun = select(item.job_id).join(batch, batch.id == item.batch_id)
        not_begun = not_begun.where(item.run_id.is_(None), batch.run_id == run_id)
        statement = statement.where(Job.id.in_(begun.union_all(not_begun)))
    if "after_id" in given:
        after = tuple_(bindparam("after_time", type_=DateTime(timezone=True)), bindparam("after_id", type_=Text()))
        statement = statement.where(tuple_(Job.created_at, Job.id) < after)
    return statement


def page_of(views: Sequence[JobView], limit: int) -> JobPage:
    """The page of what was found: its last one only says that there is another page."""
    return JobPage(tuple(views[:limit]), _encoded(views[limit - 1]) if len(views) > limit else None)


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
