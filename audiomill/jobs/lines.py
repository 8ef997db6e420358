"""The lines of a job, read and edited: what a revision shows, what an edit costs, and the revision that it makes.

The documents lie in the store, which is asked between transactions, never within one. What an edit of lines may say is
audiomill/lines/editing.py's; how a revision is made of the edited document is revisions.py's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from audiomill.catalogue.plan import EditedLines, edited_lines
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Job, Revision, WorkItem
from audiomill.errors import Conflict, NotFound
from audiomill.jobs.batches.reads import parts_of
from audiomill.jobs.edited_documents import document_of, edits_of, lines_gone, stored
from audiomill.jobs.queries import job_not_found
from audiomill.jobs.revising import ORDER, revision_not_complete, revision_not_found
from audiomill.jobs.revisions import StepCost, affected, refuse_if_not_editable, revise
from audiomill.lines.document import Lines
from audiomill.lines.editing import Edited, LineEdit, edited
from audiomill.settings import Settings
from audiomill.storage import ObjectStore


@dataclass(frozen=True)
class JobLines:
    """The lines of one revision."""

    job_id: str
    revision: int
    document: Lines


@dataclass(frozen=True)
class EditOfLines:
    """What an edit came to, or would. revision: the one that it makes; None: it changes nothing, or was only asked.

    base: the current one. changed: the ids of its lines. cost: by step, in the order of the plan.
    """

    job_id: str
    base: int
    changed: tuple[str, ...]
    cost: tuple[StepCost, ...]
    revision: int | None = None

    @property
    def seconds(self) -> float:
        """Of sound, that are made anew in all steps together."""
        return sum(each.seconds for each in self.cost)


@dataclass(frozen=True)
class _Step:
    """A step of a revision: the item and what it made."""

    stage: str
    reads: Sequence[str]
    seconds: float
    finished_at: datetime | None
    artifact: Artifact | None


@dataclass(frozen=True)
class _Found:
    """A complete revision of a job that has lines."""

    revision: int
    lines: EditedLines
    steps: Mapping[str, _Step]
    now: datetime

    def artifact(self, step: str) -> Artifact:
        """What a step made. Raises NotFound."""
        artifact = self.steps[step].artifact if step in self.steps else None
        if artifact is None:
            raise lines_gone()
        return artifact

    def part(self, name: str) -> str:
        """The object of a part, `<step>/<part>`. Raises NotFound."""
        step, _, part = name.partition("/")
        found = parts_of(self.artifact(step))
        if part not in found:
            raise lines_gone()
        return str(found[part]["object_key"])


def read_lines(
    database: Database, store: ObjectStore, *, workspace_id: str | None, job_id: str, revision: int | None = None
) -> JobLines:
    """The lines of the current revision of a job, or of another. `workspace_id` None is the operator.

    Raises NotFound (`job_not_found`, `revision_not_found`, `no_lines`), Conflict (it is not complete).
    """
    with database.session() as session:
        found = _found(session, _job(session, workspace_id, job_id), revision)
        key = found.part(found.lines.shown)
    return JobLines(job_id, found.revision, document_of(store, key))


def edit_lines(
    database: Database,
    store: ObjectStore,
    settings: Settings,
    *,
    workspace_id: str,
    job_id: str,
    edits: Sequence[LineEdit],
    expected: int | None = None,
    dry_run: bool = False,
) -> EditOfLines:
    """Edit lines of the current revision, which makes the next one; or tell what it would cost.

    expected: the revision that the edit was made of. Raises NotFound, BadRequest, QuotaExceeded, Conflict (the job is
    not complete, a revision is being made, the current one is another than expected).
    """
    with database.session() as session:
        job = _job(session, workspace_id, job_id)
        refuse_if_not_editable(session, job, expected)
        found = _found(session, job, None)
        shown, base = found.part(found.lines.shown), found.part(found.lines.edited)
    became = edited(
        document_of(store, base), edits, shown=document_of(store, shown), translates=found.lines.translated is not None
    )
    if not became.changed:
        return EditOfLines(job_id, found.revision, (), ())
    part = found.lines.translated if became.to_translate and found.lines.translated else found.lines.edited
    step, _, name = part.partition("/")
    anew = affected({each: made.reads for each, made in found.steps.items()}, [step])
    told = EditOfLines(job_id, found.revision, became.changed, _cost(found, anew, became, settings))
    if dry_run:
        return told
    # What was edited of a step that is made anew is in the document that it is made of.
    before = edits_of([made.artifact for each, made in found.steps.items() if made.artifact and each in anew | {step}])
    record = stored(store, found.artifact(step), name, became.document, edits=before + len(became.changed))
    with database.session() as session:
        number = revise(
            session,
            workspace_id=workspace_id,
            job_id=job_id,
            base=found.revision,
            replaced={step: record},
            edited_lines=len(became.changed),
            settings=settings,
        )
    return EditOfLines(job_id, found.revision, told.changed, told.cost, number)


def _job(session: Session, workspace_id: str | None, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or (workspace_id is not None and job.workspace_id != workspace_id):
        raise job_not_found(job_id)
    return job


def _found(session: Session, job: Job, revision: int | None) -> _Found:
    lines = edited_lines(job.plan)
    if lines is None:
        raise NotFound(f"The job {job.id} ({job.capability}) has no lines to look at.", code="no_lines")
    _refuse_if_not_complete(session, job, revision)
    number = job.revision if revision is None else revision
    rows = session.execute(
        select(WorkItem, Artifact)
        .outerjoin(Artifact, Artifact.key == WorkItem.artifact_key)
        .where(WorkItem.job_id == job.id, WorkItem.revision == number)
        .order_by(WorkItem.id)
    )
    steps = {
        item.step: _Step(item.stage, item.reads, item.audio_seconds, item.finished_at, artifact)
        for item, artifact in rows
    }
    return _Found(number, lines, steps, session.execute(select(func.clock_timestamp())).scalar_one())


def _refuse_if_not_complete(session: Session, job: Job, revision: int | None) -> None:
    """Raises Conflict where the job, or that revision of it, is not complete; NotFound where it has none such."""
    if job.state != "complete":
        why = f" {job.failure_reason}" if job.failure_reason else ""
        raise Conflict(f"The job {job.id} is {job.state}, so it has no lines.{why}", code="job_not_complete")
    if revision is None or revision == ORDER:
        return
    row = session.get(Revision, (job.id, revision))
    if row is None:
        raise revision_not_found(job.id, revision)
    if row.state != "complete":
        raise revision_not_complete(job.id, revision, row.state, row.failure_reason)


def _cost(found: _Found, anew: Collection[str], became: Edited, settings: Settings) -> tuple[StepCost, ...]:
    kept_seconds = settings.retention.artifact_days * 86_400
    costs = []
    for name, step in found.steps.items():
        if name not in anew:
            continue
        seconds = step.seconds
        # What a step made of each line is kept for some days after it was last asked for.
        young = step.finished_at is not None and (found.now - step.finished_at).total_seconds() < kept_seconds
        if name in found.lines.by_line and young:
            seconds = min(seconds, became.changed_seconds)
        costs.append(StepCost(name, step.stage, round(seconds, 3)))
    return tuple(costs)
