"""The next revision of a complete job: from its frozen plan, with results of some steps replaced by edited ones.

Its items are those of the current revision. What reads nothing that changed is complete from the start and refers to
the artifact that there is; what is replaced is complete, too; what comes after it waits to be made, and is released as
any item is (advance.py). The job stays complete, with the revision that it has, until this one is (revising.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from audiomill.accounts.space import refuse_if_full
from audiomill.catalogue.plan import input_role
from audiomill.database.tables import Artifact, Job, Revision, WorkItem
from audiomill.errors import Conflict
from audiomill.jobs import advance
from audiomill.jobs.batches.working import ArtifactRecord
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.queries import job_not_found
from audiomill.jobs.revising import ORDER, end_revision, revision_not_found
from audiomill.settings import Settings


@dataclass(frozen=True)
class StepCost:
    """What a revision makes anew of a step: seconds of sound."""

    step: str
    stage: str
    seconds: float


def affected(reads: Mapping[str, Sequence[str]], replaced: Collection[str]) -> set[str]:
    """The steps that read what these make, and so on. reads: by step, in the order of the plan."""
    found: set[str] = set()
    for step, parts in reads.items():
        sources = {part.partition("/")[0] for part in parts if input_role(part) is None}
        if step not in replaced and sources & (found | set(replaced)):
            found.add(step)
    return found


def revise(
    session: Session,
    *,
    workspace_id: str,
    job_id: str,
    base: int,
    replaced: Mapping[str, ArtifactRecord],
    edited_lines: int,
    settings: Settings,
) -> int:
    """Make the next revision of a job whose current one is `base`; returns its number.

    Raises NotFound, Conflict (`job_not_complete`, `revision_open`, `revision_changed`), QuotaExceeded.
    """
    # Locked until this transaction ends: of two at once the second sees what the first made.
    job = session.scalar(
        select(Job).where(Job.id == job_id, Job.workspace_id == workspace_id).with_for_update(key_share=True)
    )
    if job is None:
        raise job_not_found(job_id)
    refuse_if_not_editable(session, job, base)
    refuse_if_full(session, workspace_id, sum(record.size_bytes for record in replaced.values()), settings)
    items = session.scalars(
        select(WorkItem).where(WorkItem.job_id == job_id, WorkItem.revision == base).order_by(WorkItem.id)
    ).all()
    number = 1 + int(session.scalar(select(func.max(WorkItem.revision)).where(WorkItem.job_id == job_id)) or base)
    anew = affected({item.step: item.reads for item in items}, replaced)
    if not anew:
        raise ValueError(f"nothing is made of what {sorted(replaced)} make")
    for step, record in sorted(replaced.items()):
        session.add(_artifact(workspace_id, next(item.stage for item in items if item.step == step), record))
    session.add(Revision(job_id=job_id, revision=number, base=base, edited_lines=edited_lines))
    # Ascending in the order of the plan, as those of an order.
    ids = sorted(new_id("item") for _ in items)
    for item_id, item in zip(ids, items, strict=True):
        session.add(_next(item, item_id, number, anew=item.step in anew, replaced=replaced.get(item.step)))
    session.flush()
    advance.release(session, [job_id])
    return number


def refuse_if_not_editable(session: Session, job: Job, base: int | None) -> None:
    """Raises Conflict where no revision can be made of a job now. base: the current one, as far as anyone knew."""
    if job.state != "complete":
        why = "has not ended yet" if job.state in {"queued", "running"} else f"is {job.state}"
        raise Conflict(
            f"The job {job.id} {why}, so there is nothing to edit. Only what is complete can be edited.",
            code="job_not_complete",
        )
    number = session.scalar(select(Revision.revision).where(Revision.job_id == job.id, Revision.state == "open"))
    if number is not None:
        raise Conflict(
            f"Revision {number} of the job {job.id} is being made. Wait until it has ended, or cancel it "
            f"(DELETE /v1/jobs/{job.id}/revisions/{number}), and edit then.",
            code="revision_open",
        )
    if base is not None and base != job.revision:
        raise Conflict(
            f"The job {job.id} is at revision {job.revision} by now, and the edit was made of revision {base}. Look at "
            "its lines again, and edit those.",
            code="revision_changed",
        )


def cancel_revision(session: Session, *, workspace_id: str, job_id: str, revision: int) -> None:
    """Drop what is open of a revision; the job stays as it is. Doing it again changes nothing.

    Raises NotFound, Conflict (it has ended, or is the order).
    """
    if session.scalar(select(Job.id).where(Job.id == job_id, Job.workspace_id == workspace_id)) is None:
        raise job_not_found(job_id)
    if revision == ORDER:
        raise Conflict(
            f"Revision {ORDER} of the job {job_id} is its order, and no edit. To cancel an order that has not ended, "
            f"cancel the job (DELETE /v1/jobs/{job_id}).",
            code="not_an_edit",
        )
    # Items before the job, as completing and failing do.
    session.execute(
        text("SELECT id FROM work_items WHERE job_id = :job AND revision = :revision ORDER BY id FOR NO KEY UPDATE"),
        {"job": job_id, "revision": revision},
    )
    if end_revision(session, job_id, revision, "cancelled"):
        advance.drop(session, job_id, revision)
        return
    state = session.scalar(select(Revision.state).where(Revision.job_id == job_id, Revision.revision == revision))
    if state is None:
        raise revision_not_found(job_id, revision)
    if state != "cancelled":
        raise Conflict(
            f"Revision {revision} of the job {job_id} is {state} and can no longer be cancelled.",
            code="revision_finished",
        )


def _artifact(workspace_id: str, stage: str, record: ArtifactRecord) -> Artifact:
    return Artifact(
        key=record.key,
        workspace_id=workspace_id,
        stage=stage,
        object_key=record.object_key,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        details=record.details,
        parts={name: asdict(part) for name, part in record.parts.items()},
    )


_SAME = (
    "job_id", "workspace_id", "step", "stage", "options", "reads", "optional", "delivers", "weight", "engine", "model",
    "resource_class", "tier", "length_class", "lane", "audio_seconds", "expected_seconds",
)  # fmt: skip
_TAKEN_OVER = ("made_in", "state", "artifact_key", "failure_code", "failure_reason", "warnings", "finished_at")


def _next(item: WorkItem, item_id: str, number: int, *, anew: bool, replaced: ArtifactRecord | None) -> WorkItem:
    """The same step in the next revision."""
    values: dict[str, Any] = {"id": item_id, "revision": number, **{name: getattr(item, name) for name in _SAME}}
    if anew:
        waits_for = len({part.partition("/")[0] for part in item.reads if input_role(part) is None})
        return WorkItem(**values, made_in=number, state="waiting", waits_for=waits_for)
    values |= {name: getattr(item, name) for name in _TAKEN_OVER}
    if replaced is not None:
        values |= {"made_in": number, "state": "complete", "artifact_key": replaced.key}
    return WorkItem(**values, progress=1.0)
