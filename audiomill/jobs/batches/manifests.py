"""What a batch made: the manifest that operators find from Dagster. Ids, hashes and sizes; no customer's content."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from audiomill.database.tables import Job, Output, Recording, WorkItem


@dataclass(frozen=True)
class ManifestOutput:
    """One file of a job. Names are ours (`transcript.srt`)."""

    name: str
    version: int
    object_key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ManifestJob:
    """One step of a job of the batch. `artifact_key`: its result; None: it has none. `outputs`: what it delivered."""

    job_id: str
    step: str
    revision: int
    state: str
    failure_code: str | None
    input_sha256: str | None
    artifact_key: str | None
    outputs: tuple[ManifestOutput, ...]


def batch_manifest(session: Session, batch_id: str) -> tuple[ManifestJob, ...]:
    """What of its jobs a batch did, with their outputs, in the order of the batch. Empty for an unknown batch."""
    outputs: dict[str, list[ManifestOutput]] = {}
    delivered = (
        select(WorkItem.id, Output)
        .join(Output, (Output.job_id == WorkItem.job_id) & (Output.version == WorkItem.revision))
        # Those of before jobs had revisions do not say whose they are.
        .where(
            WorkItem.batch_id == batch_id, WorkItem.delivers, func.coalesce(Output.step, WorkItem.step) == WorkItem.step
        )
        .order_by(WorkItem.id, Output.name)
    )
    for item_id, output in session.execute(delivered):
        outputs.setdefault(item_id, []).append(
            ManifestOutput(output.name, output.version, output.object_key, output.sha256, output.size_bytes)
        )
    rows = session.execute(
        select(WorkItem, Recording.sha256)
        .join(Job, Job.id == WorkItem.job_id)
        .join(Recording, Recording.id == Job.recording_id)
        .where(WorkItem.batch_id == batch_id)
        .order_by(WorkItem.created_at, WorkItem.id)
    )
    return tuple(
        ManifestJob(
            job_id=item.job_id,
            step=item.step,
            revision=item.revision,
            state=item.state,
            failure_code=item.failure_code,
            input_sha256=sha256,
            artifact_key=item.artifact_key,
            outputs=tuple(outputs.get(item.id, ())),
        )
        for item, sha256 in rows
    )
