"""What a run does with the items that it owns: begin, progress, complete, fail. Every write is fenced by the claim.

An item ends once: a write for one that has ended meanwhile (its customer cancelled) changes nothing, and says so.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.catalogue.capabilities import capability
from audiomill.catalogue.capabilities import validated as validated_parameters
from audiomill.catalogue.stages import STAGES
from audiomill.database.tables import Artifact, Job, Output, WorkItem
from audiomill.errors import CustomerError
from audiomill.jobs import items
from audiomill.jobs.availability import choose
from audiomill.jobs.batches.leases import Claim, fenced
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.items import HandedBack, fail_open_item
from audiomill.jobs.speeds import Speeds
from audiomill.jobs.submission import new_item
from audiomill.jobs.transitions import transition
from audiomill.settings import Settings


@dataclass(frozen=True)
class ArtifactRecord:
    """A stage's result in the store. `key` says what it was made from and how; `details` hold no content."""

    key: str
    object_key: str
    sha256: str
    size_bytes: int
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputRecord:
    """A deliverable in the store."""

    name: str
    object_key: str
    media_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class JobWarning:
    """What a customer should know of a result that was delivered all the same. The sentence is for no log."""

    code: str
    sentence: str


@dataclass(frozen=True)
class ItemResult:
    """All that one item came to. `outputs` is empty for a stage that is not its job's last."""

    artifact: ArtifactRecord
    outputs: tuple[OutputRecord, ...]
    recording_sha256: str
    recording_seconds: float | None
    audio_seconds: float
    processing_seconds: float
    warnings: tuple[JobWarning, ...] = ()


def begin(session: Session, claim: Claim, item_ids: Sequence[str]) -> dict[str, int]:
    """Start work on items. Returns, for those still wanted, the number of this attempt."""
    fenced(session, claim)
    rows = session.execute(
        # Locked in one order, so that two bulk moves cannot wait for each other in a circle.
        text(
            "WITH wanted AS MATERIALIZED (SELECT id FROM work_items WHERE id = ANY(:ids) AND batch_id = :batch "
            "AND state IN ('batched', 'running') ORDER BY id FOR NO KEY UPDATE) "
            "UPDATE work_items SET state = 'running', attempts = attempts + 1, run_id = :run, "
            "started_at = clock_timestamp(), available_at = NULL WHERE id IN (SELECT id FROM wanted) "
            "RETURNING id, job_id, attempts"
        ),
        {"ids": list(item_ids), "batch": claim.batch_id, "run": claim.run_id},
    ).all()
    transition(session, [row.job_id for row in rows], "running", stage=claim.stage, progress=0.0)
    return {row.id: row.attempts for row in rows}


def progressed(session: Session, claim: Claim, item_id: str, share: float) -> None:
    """Tell how far an item is, 0 to 1. The caller limits how often."""
    fenced(session, claim)
    job_id = session.scalar(select(WorkItem.job_id).where(WorkItem.id == item_id, WorkItem.state == "running"))
    if job_id is not None:
        transition(session, [job_id], "running", progress=max(0.0, min(share, 0.99)))


def find_artifact(session: Session, key: str) -> Artifact | None:
    """An earlier result of the same input, parameters, engine and version.

    That it was asked for is noted, so that it is not swept before the run refers to it (retention/artifacts.py).
    """
    return session.scalar(
        update(Artifact).where(Artifact.key == key).values(used_at=func.clock_timestamp()).returning(Artifact)
    )


# In one statement: the item ends, its recording is known, its artifact is there, or none of them.
_COMPLETE = text(
    """
    WITH ended AS (
        UPDATE work_items SET
            state = 'complete',
            finished_at = clock_timestamp(),
            artifact_key = :artifact,
            audio_seconds = :audio_seconds,
            processing_seconds = :processing_seconds,
            failure_code = NULL,
            failure_reason = NULL
        WHERE id = :item AND batch_id = :batch AND state = 'running'
        RETURNING job_id
    ), wanted AS (
        SELECT id, workspace_id, recording_id, capability, parameters, tier FROM jobs
        WHERE id IN (SELECT job_id FROM ended)
    ), known AS (
        UPDATE recordings SET
            sha256 = CAST(:recording_sha256 AS text),
            duration_seconds = coalesce(CAST(:recording_seconds AS double precision), duration_seconds)
        FROM wanted WHERE recordings.id = wanted.recording_id
    ), kept AS (
        INSERT INTO artifacts (key, workspace_id, stage, object_key, sha256, size_bytes, details)
        SELECT CAST(:artifact AS text), workspace_id, CAST(:stage AS text), CAST(:object_key AS text),
            CAST(:sha256 AS text), CAST(:size_bytes AS bigint), CAST(:details AS jsonb) FROM wanted
        ON CONFLICT (key) DO NOTHING
    )
    SELECT id, workspace_id, capability, parameters, tier FROM wanted
    """
)


def complete(session: Session, claim: Claim, item_id: str, result: ItemResult) -> bool:
    """End an item well: artifact, outputs or the next stage's item, and the job, in one transaction.

    False when the item is no longer wanted (its job was cancelled): nothing is kept then. Sent again, because its
    answer was lost, it changes nothing and is true.
    """
    fenced(session, claim)
    job = session.execute(
        _COMPLETE,
        {
            "item": item_id,
            "batch": claim.batch_id,
            "stage": claim.stage,
            "artifact": result.artifact.key,
            "object_key": result.artifact.object_key,
            "sha256": result.artifact.sha256,
            "size_bytes": result.artifact.size_bytes,
            "details": json.dumps(result.artifact.details),
            "audio_seconds": result.audio_seconds,
            "processing_seconds": result.processing_seconds,
            "recording_sha256": result.recording_sha256,
            "recording_seconds": result.recording_seconds,
        },
    ).one_or_none()
    if job is None:
        return _is_complete(session, claim, item_id)
    if result.warnings:
        told = [asdict(warning) for warning in result.warnings]
        session.execute(update(Job).where(Job.id == job.id).values(warnings=Job.warnings + told))
    chain = capability(job.capability).stages
    place = chain.index(claim.stage)
    if place + 1 < len(chain):
        _next_stage(session, job, chain[place + 1], result.audio_seconds)
        return True
    session.execute(
        insert(Output),
        [
            {
                "id": new_id("out"),
                "job_id": job.id,
                "name": output.name,
                "object_key": output.object_key,
                "media_type": output.media_type,
                "size_bytes": output.size_bytes,
                "sha256": output.sha256,
            }
            for output in result.outputs
        ],
    )
    transition(session, [job.id], "complete")
    return True


def _is_complete(session: Session, claim: Claim, item_id: str) -> bool:
    state = select(WorkItem.state).where(WorkItem.id == item_id, WorkItem.batch_id == claim.batch_id)
    return session.scalar(state) == "complete"


def _next_stage(session: Session, job: Any, stage: str, seconds: float) -> None:  # noqa: ANN401 - a row
    parameters = validated_parameters(job.capability, job.parameters)
    chosen = choose(session, task=STAGES[stage].task, parameters=parameters)
    item = new_item(job.id, job.workspace_id, stage, chosen, job.tier, seconds, Speeds.now(session))
    session.execute(insert(WorkItem).values(item))
    transition(session, [job.id], "running", stage=stage, progress=0.0)


def fail_item(session: Session, claim: Claim, item_id: str, error: CustomerError) -> bool:
    """End an item with a reason that its customer can act on. False when it is no longer wanted."""
    fenced(session, claim)
    return fail_open_item(session, item_id, code=error.code, reason=error.message)


def hand_back(session: Session, claim: Claim, item_id: str, why: str, settings: Settings) -> HandedBack:
    """Give one item back that cannot be worked on now through a fault of ours, or give it up. `why`: for operators."""
    fenced(session, claim)
    return items.hand_back(session, claim.batch_id, item_id, why, settings)
