"""The lines of a job, read and edited: what a revision shows, what an edit costs, and the revision that it makes.

The documents lie in the store, which is asked between transactions, never within one. What an edit of lines may say is
audiomill/lines/editing.py's; how a revision is made of the edited document is revisions.py's.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from audiomill.catalogue.plan import EditedLines, edited_lines
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Job, Revision, WorkItem
from audiomill.errors import Conflict, NotFound
from audiomill.jobs.batches.reads import parts_of
from audiomill.jobs.batches.working import ArtifactRecord, PartRecord
from audiomill.jobs.queries import job_not_found
from audiomill.jobs.revising import ORDER, revision_not_complete, revision_not_found
from audiomill.jobs.revisions import StepCost, affected, refuse_if_not_editable, revise
from audiomill.lines.document import Lines
from audiomill.lines.editing import Edited, LineEdit, edited
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.keys import artifact_key

EDITED_CHECK = "edited_by_customer"
"""On receipts, of a step whose lines its customer edited: in how many of them."""


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

    def part(self, name: str) -> str:
        """The object of a part, `<step>/<part>`. Raises NotFound."""
        step, _, part = name.partition("/")
        artifact = self.steps[step].artifact if step in self.steps else None
        found = {} if artifact is None else parts_of(artifact)
        if part not in found:
            raise _gone()
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
    return JobLines(job_id, found.revision, Lines.from_json(store.get_bytes(key)))


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
    document = Lines.from_json(store.get_bytes(base))
    became = edited(
        document,
        edits,
        shown=Lines.from_json(store.get_bytes(shown)),
        translates=found.lines.translated is not None,
    )
    if not became.changed:
        return EditOfLines(job_id, found.revision, (), ())
    part = found.lines.translated if became.to_translate and found.lines.translated else found.lines.edited
    told = EditOfLines(job_id, found.revision, became.changed, _cost(found, part, became, settings))
    if dry_run:
        return told
    step, _, name = part.partition("/")
    record = _stored(store, workspace_id, found.steps[step], name, became)
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


def _cost(found: _Found, part: str, became: Edited, settings: Settings) -> tuple[StepCost, ...]:
    anew = affected({name: step.reads for name, step in found.steps.items()}, [part.partition("/")[0]])
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


def _stored(store: ObjectStore, workspace_id: str, step: _Step, name: str, became: Edited) -> ArtifactRecord:
    """The step's result with the edited document, all of it as objects of its own: the old one's go when it goes."""
    assert step.artifact is not None  # noqa: S101 - its part was found
    document = became.document.to_json()
    made_from = ["edited", workspace_id, step.stage, step.artifact.key, hashlib.sha256(document).hexdigest()]
    key = hashlib.sha256(rfc8785.dumps(made_from)).hexdigest()
    parts: dict[str, PartRecord] = {}
    for each, part in parts_of(step.artifact).items():
        # Beside its lines such a step makes small documents.
        data = document if each == name else store.get_bytes(part["object_key"])
        parts[each] = _put(store, workspace_id, step.stage, key, data, part)
    return ArtifactRecord(
        key,
        parts[name].object_key,
        parts[name].sha256,
        sum(part.size_bytes for part in parts.values()),
        _details(step.artifact.details, became),
        parts,
    )


def _put(
    store: ObjectStore, workspace_id: str, stage: str, key: str, data: bytes, part: Mapping[str, Any]
) -> PartRecord:
    sha256 = hashlib.sha256(data).hexdigest()
    suffix = str(part["object_key"]).rpartition("/")[2].partition(".")[2]
    object_key = artifact_key(workspace_id, stage, key, sha256, f".{suffix}" if suffix else "")
    store.put_bytes(object_key, data, media_type=part["media_type"])
    return PartRecord(object_key, sha256, len(data), part["media_type"])


def _details(details: Mapping[str, Any], became: Edited) -> dict[str, Any]:
    """Of the step that made the lines, and how many of them its customer has edited since."""
    checks = [check for check in details.get("checks", ()) if check["name"] != EDITED_CHECK]
    before = sum(check["value"] for check in details.get("checks", ()) if check["name"] == EDITED_CHECK)
    edits = {"name": EDITED_CHECK, "passed": True, "value": before + len(became.changed), "limit": None}
    return {**details, "checks": [*checks, edits]}


def _gone() -> NotFound:
    return NotFound("The lines of this job are kept no longer. Order it again.", code="lines_gone")
