"""What a run does with the items that it owns: begin, progress, complete, fail. Every write is fenced by the claim.

An item ends once: a write for one that has ended meanwhile (its customer cancelled) changes nothing, and says so.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.database.tables import Artifact, Output, WorkItem
from audiomill.errors import CustomerError
from audiomill.jobs import advance, items
from audiomill.jobs.batches.leases import Claim, fenced
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.items import HandedBack
from audiomill.jobs.transitions import transition
from audiomill.settings import Settings


@dataclass(frozen=True)
class PartRecord:
    """One file of a step's result in the store."""

    object_key: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True)
class ArtifactRecord:
    """A step's result in the store. `key` says what it was made from and how; `details` hold no content.

    parts: its files by name; empty: there is one, `result`, and `object_key` and `sha256` say all of it. With parts
    they are those of the first; `size_bytes` is the sum.
    """

    key: str
    object_key: str
    sha256: str
    size_bytes: int
    details: dict[str, Any] = field(default_factory=dict)
    parts: Mapping[str, PartRecord] = field(default_factory=dict)


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
    """All that one item came to. `outputs` is empty for a step that does not deliver.

    recording_sha256, recording_seconds: what was learned of the recording that it reads first; None: it reads none.
    """

    artifact: ArtifactRecord
    outputs: tuple[OutputRecord, ...]
    recording_sha256: str | None
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
            "UPDATE work_items SET state = 'running', attempts = attempts + 1, run_id = :run, progress = 0, "
            "started_at = clock_timestamp(), available_at = NULL WHERE id IN (SELECT id FROM wanted) "
            "RETURNING id, job_id, step, attempts"
        ),
        {"ids": list(item_ids), "batch": claim.batch_id, "run": claim.run_id},
    ).all()
    steps = {row.job_id: row.step for row in rows}
    transition(session, list(steps), "running", stage=claim.stage, steps=steps)
    return {row.id: row.attempts for row in rows}


def progressed(session: Session, claim: Claim, item_id: str, share: float) -> None:
    """Tell how far an item is, 0 to 1. The caller limits how often."""
    fenced(session, claim)
    job_id = session.scalar(
        update(WorkItem)
        .where(WorkItem.id == item_id, WorkItem.batch_id == claim.batch_id, WorkItem.state == "running")
        .values(progress=func.greatest(WorkItem.progress, min(share, 0.99)))
        .returning(WorkItem.job_id)
    )
    if job_id is not None:
        transition(session, [job_id], "running")


def find_artifact(session: Session, key: str) -> Artifact | None:
    """An earlier result of the same input, parameters, engine and version.

    That it was asked for is noted, so that it is not swept before the run refers to it (retention/artifacts.py).
    """
    return session.scalar(
        update(Artifact).where(Artifact.key == key).values(used_at=func.clock_timestamp()).returning(Artifact)
    )


# In one statement: the item ends, the recording that it read is known, its artifact is there, or none of them.
_COMPLETE = text(
    """
    WITH ended AS (
        UPDATE work_items SET
            state = 'complete',
            progress = 1,
            finished_at = clock_timestamp(),
            artifact_key = :artifact,
            audio_seconds = :audio_seconds,
            processing_seconds = :processing_seconds,
            failure_code = NULL,
            failure_reason = NULL
        WHERE id = :item AND batch_id = :batch AND state = 'running'
        RETURNING job_id, workspace_id, revision, step, delivers
    ), known AS (
        UPDATE recordings SET
            sha256 = CAST(:recording_sha256 AS text),
            duration_seconds = coalesce(CAST(:recording_seconds AS double precision), duration_seconds)
        FROM ended WHERE recordings.id = CAST(:recording AS text)
    ), kept AS (
        INSERT INTO artifacts (key, workspace_id, stage, object_key, sha256, size_bytes, details, parts)
        SELECT CAST(:artifact AS text), workspace_id, CAST(:stage AS text), CAST(:object_key AS text),
            CAST(:sha256 AS text), CAST(:size_bytes AS bigint), CAST(:details AS jsonb), CAST(:parts AS jsonb)
        FROM ended
        ON CONFLICT (key) DO NOTHING
    )
    SELECT job_id, revision, step, delivers FROM ended
    """
)


def complete(session: Session, claim: Claim, item_id: str, result: ItemResult) -> bool:
    """End an item well: artifact, outputs, what waited for it, and its job with the last one, in one transaction.

    False when the item is no longer wanted (its job was cancelled): nothing is kept then. Sent again, because its
    answer was lost, it changes nothing and is true.
    """
    fenced(session, claim)
    family = advance.hold(session, [item_id])
    item = session.execute(_COMPLETE, {"item": item_id, "batch": claim.batch_id, **_values(claim, item_id, result)})
    if (row := item.one_or_none()) is None:
        return _is_complete(session, claim, item_id)
    if result.warnings:
        advance.warn(session, item_id, [asdict(warning) for warning in result.warnings])
    if row.delivers and result.outputs:
        session.execute(
            insert(Output),
            [
                {
                    "id": new_id("out"),
                    "job_id": row.job_id,
                    "name": output.name,
                    "version": row.revision,
                    "step": row.step,
                    "object_key": output.object_key,
                    "media_type": output.media_type,
                    "size_bytes": output.size_bytes,
                    "sha256": output.sha256,
                }
                for output in result.outputs
            ],
        )
    advance.ended(session, advance.Ended(row.job_id, row.step, claim.stage, row.revision, alone=family == 1))
    return True


def _values(claim: Claim, item_id: str, result: ItemResult) -> dict[str, Any]:
    artifact = result.artifact
    read = next((item.recording_id for item in claim.items if item.id == item_id), None)
    return {
        "stage": claim.stage,
        "artifact": artifact.key,
        "object_key": artifact.object_key,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "details": json.dumps(artifact.details),
        "parts": json.dumps({name: asdict(part) for name, part in artifact.parts.items()}) if artifact.parts else None,
        "audio_seconds": result.audio_seconds,
        "processing_seconds": result.processing_seconds,
        "recording": None if result.recording_sha256 is None else read,
        "recording_sha256": result.recording_sha256,
        "recording_seconds": result.recording_seconds,
    }


def _is_complete(session: Session, claim: Claim, item_id: str) -> bool:
    state = select(WorkItem.state).where(WorkItem.id == item_id, WorkItem.batch_id == claim.batch_id)
    return session.scalar(state) == "complete"


def fail_item(session: Session, claim: Claim, item_id: str, error: CustomerError) -> bool:
    """End an item with a reason that its customer can act on. False when it is no longer wanted."""
    fenced(session, claim)
    return advance.fail(session, item_id, code=error.code, reason=error.message)


def hand_back(session: Session, claim: Claim, item_id: str, why: str, settings: Settings) -> HandedBack:
    """Give one item back that cannot be worked on now through a fault of ours, or give it up. `why`: for operators."""
    fenced(session, claim)
    return items.hand_back(session, claim.batch_id, item_id, why, settings)
