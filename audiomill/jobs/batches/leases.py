"""Leases: which run owns a batch. Taken by `claim`, kept by `heartbeat`, given up by `close`, or as recovery.py does.

The fencing number grows with every new owner; every write of a run is checked against it (`fenced`), so that a run
that was thought dead and wakes up can write nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from audiomill.database.tables import Batch, Job, WorkItem
from audiomill.errors import LeaseLost, LeaseRefused
from audiomill.jobs.advance import revive
from audiomill.jobs.batches.reads import Files, InputRef, Reader, StepMade, read_by
from audiomill.jobs.items import back_to_lane
from audiomill.jobs.queries import BatchView, get_batch
from audiomill.jobs.speeds import measure
from audiomill.jobs.states import OPEN_ITEMS
from audiomill.settings import Settings


@dataclass(frozen=True)
class ClaimedItem:
    """A work item as the run that owns it sees it: one step of one revision of a job.

    inputs: what the step reads, in the order in which it says so, without what was left out. recording_id, object_key,
    object_version, kind, filename, size_bytes, input_sha256 are the first one's (recording_id: None of a part); where
    all was left out, those of the job's first input. sources: all inputs of the job. made_by, left_out: the steps that
    it comes after, for its receipt.
    input_sha256 is known of texts, of parts, and of what was read before. parameters: the job's, for receipts; what the
    step goes by are its options. delivers: its files are outputs of the job.
    audio_seconds: estimated. crashes, interruptions: what it went through before (jobs/batches/recovery.py).
    """

    id: str
    job_id: str
    workspace_id: str
    capability: str
    stage: str
    parameters: dict[str, Any]
    recording_id: str | None
    object_key: str
    object_version: str | None
    kind: str
    filename: str
    size_bytes: int
    attempts: int
    input_sha256: str | None = None
    audio_seconds: float = 0.0
    crashes: int = 0
    interruptions: int = 0
    step: str = ""
    revision: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputRef, ...] = ()
    delivers: bool = True
    sources: tuple[InputRef, ...] = ()
    made_by: tuple[StepMade, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A batch owned: the proof that goes with every write."""

    batch_id: str
    stage: str
    engine: str
    model: str | None
    resource_class: str
    fencing: int
    run_id: str
    items: tuple[ClaimedItem, ...]


@dataclass(frozen=True)
class Origin:
    """Where a run comes from: what proves that an operator wants a batch that was closed to be run again.

    asked_for: it is the one run that was asked for when the batch was formed; every later one of that key is a
    duplicate. created_at: when Dagster heard of it.
    """

    asked_for: bool = False
    created_at: datetime | None = None

    def is_a_duplicate(self, batch: Batch) -> bool:
        """Whether a closed batch was closed after this run was wanted."""
        if self.asked_for:
            return True
        if self.created_at is None or batch.finished_at is None:
            return False
        # Dagster's clock may cut the second off.
        return self.created_at + timedelta(seconds=1) < batch.finished_at


def claim(
    session: Session,
    *,
    batch_id: str,
    stage: str,
    run_id: str,
    settings: Settings,
    origin: Origin | None = None,
    worker: str | None = None,
) -> Claim:
    """Own a batch. Its open items are to be worked on; complete and cancelled ones are left out.

    A batch that was closed before is being run again by an operator: its failed items get another chance, and their
    jobs with them.
    Raises LeaseRefused with a reason when the batch is unknown, of another stage, retired, given up, owned by another
    live run, or was closed and this run is a duplicate of the one that did it.
    """
    batch = session.scalar(select(Batch).where(Batch.id == batch_id).with_for_update())
    if batch is None:
        raise LeaseRefused(
            f"There is no batch {batch_id!r}. Batches are formed by the batching sensor, not by adding a partition.",
            code="unknown_batch",
        )
    if batch.stage != stage:
        raise LeaseRefused(f"Batch {batch_id} is for the stage {batch.stage!r}, not {stage!r}.", code="foreign_batch")
    if batch.retired_at is not None:
        raise LeaseRefused(f"Batch {batch_id} was retired. Order its jobs anew.", code="retired_batch")
    if batch.state == "cancelled":
        raise LeaseRefused(
            f"Batch {batch_id} was given up and its jobs went back to the queue: they run in another batch.",
            code="cancelled_batch",
        )
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    owned_by_another = batch.state == "running" and batch.run_id != run_id
    if owned_by_another and batch.lease_expires_at is not None and batch.lease_expires_at > now:
        raise LeaseRefused(
            f"Batch {batch_id} is being worked on by the run {batch.run_id}. If that run has ended, the batch begins "
            f"again by itself, at {batch.lease_expires_at.astimezone(UTC):%H:%M:%S} UTC at the latest, and needs no "
            "run of yours.",
            code="batch_in_use",
        )
    run_again = batch.state == "closed"
    if run_again and batch.run_id != run_id and (origin or Origin()).is_a_duplicate(batch):
        raise LeaseRefused(
            f"Batch {batch_id} was worked off by the run {batch.run_id} while this one waited. To try its failed jobs "
            "again, materialise it now.",
            code="duplicate_run",
        )
    batch.state = "running"
    batch.run_id = run_id
    batch.worker = worker
    batch.fencing += 1
    batch.finished_at = None
    batch.note = "run again" if run_again else None
    batch.requested_at = batch.requested_at or now
    batch.lease_expires_at = now + timedelta(seconds=settings.lease.ttl_seconds)
    session.flush()
    if run_again:
        revive(session, batch_id)
    return _claim_of(session, batch)


def _claim_of(session: Session, batch: Batch) -> Claim:
    rows = session.execute(
        select(WorkItem, Job)
        .join(Job, Job.id == WorkItem.job_id)
        .where(WorkItem.batch_id == batch.id, WorkItem.state.in_(OPEN_ITEMS))
        .order_by(WorkItem.created_at, WorkItem.id)
    ).all()
    read = read_by(session, [Reader(item.id, job.id, job.capability, item.revision, item.reads) for item, job in rows])
    return Claim(
        batch_id=batch.id,
        stage=batch.stage,
        engine=batch.engine,
        model=batch.model,
        resource_class=batch.resource_class,
        fencing=batch.fencing,
        run_id=batch.run_id or "",
        items=tuple(_claimed(item, job, read[item.id]) for item, job in rows),
    )


def _claimed(item: WorkItem, job: Job, files: Files) -> ClaimedItem:
    first = files.first
    return ClaimedItem(
        id=item.id,
        job_id=job.id,
        workspace_id=job.workspace_id,
        capability=job.capability,
        stage=item.stage,
        parameters=job.parameters,
        recording_id=first.recording_id,
        object_key=first.object_key,
        object_version=first.version,
        kind=first.kind,
        filename=first.filename,
        size_bytes=first.size_bytes,
        attempts=item.attempts,
        input_sha256=first.sha256,
        audio_seconds=item.audio_seconds,
        crashes=item.crashes,
        interruptions=item.interruptions,
        step=item.step,
        revision=item.revision,
        options=item.options,
        inputs=files.read,
        delivers=item.delivers,
        sources=files.sources,
        made_by=files.made_by,
        left_out=files.left_out,
    )


def held(session: Session, *, batch_id: str, run_id: str) -> Claim:
    """The claim that this run already holds, for its next op. Raises LeaseLost."""
    batch = session.scalar(select(Batch).where(Batch.id == batch_id))
    if batch is None or batch.run_id != run_id or batch.state != "running":
        raise LeaseLost(f"The run {run_id} does not own the batch {batch_id}.")
    return _claim_of(session, batch)


def fenced(session: Session, held_claim: Claim) -> None:
    """Hold the ownership still until this transaction ends. Raises LeaseLost when it is another's already.

    Who takes a batch away locks its row FOR UPDATE first, and so waits for the writes that are under way; the
    heartbeat's update does not.
    """
    found = session.scalar(
        text(
            "SELECT 1 FROM batches WHERE id = :id AND run_id = :run AND fencing = :fencing AND state = 'running' "
            "FOR KEY SHARE"
        ),
        {"id": held_claim.batch_id, "run": held_claim.run_id, "fencing": held_claim.fencing},
    )
    if found is None:
        raise LeaseLost(f"The run {held_claim.run_id} no longer owns the batch {held_claim.batch_id}.")


def heartbeat(
    session: Session, held_claim: Claim, settings: Settings, *, in_work: Collection[str] = ()
) -> frozenset[str]:
    """Say that this run lives. Returns those of its items in work that are no longer wanted. Raises LeaseLost."""
    kept = session.scalar(
        text(
            "UPDATE batches SET lease_expires_at = clock_timestamp() + make_interval(secs => :ttl) "
            "WHERE id = :id AND run_id = :run AND fencing = :fencing AND state = 'running' RETURNING id"
        ),
        {
            "id": held_claim.batch_id,
            "run": held_claim.run_id,
            "fencing": held_claim.fencing,
            "ttl": settings.lease.ttl_seconds,
        },
    )
    if kept is None:
        raise LeaseLost(f"The run {held_claim.run_id} no longer owns the batch {held_claim.batch_id}.")
    if not in_work:
        return frozenset()
    # Cancelled; or cancelled and wanted again, in another batch, before this was asked.
    dropped = (WorkItem.state == "cancelled") | WorkItem.batch_id.is_distinct_from(held_claim.batch_id)
    return frozenset(session.scalars(select(WorkItem.id).where(WorkItem.id.in_(in_work), dropped)))


def close(session: Session, held_claim: Claim) -> BatchView:
    """Give the batch up, worked off. What is still open goes back to its lane, which need not rest any longer.

    Once closed, doing it again changes nothing. Raises LeaseLost.
    """
    batch = session.scalar(select(Batch).where(Batch.id == held_claim.batch_id).with_for_update())
    if batch is not None and batch.state == "closed" and batch.run_id == held_claim.run_id:
        return get_batch(session, held_claim.batch_id)
    fenced(session, held_claim)
    back_to_lane(session, held_claim.batch_id)
    session.execute(
        update(Batch)
        .where(Batch.id == held_claim.batch_id)
        .values(state="closed", lease_expires_at=None, finished_at=func.clock_timestamp())
    )
    if batch is not None:
        session.execute(text("DELETE FROM lane_pauses WHERE lane = :lane"), {"lane": batch.lane})
    measure(session, held_claim.batch_id)
    return get_batch(session, held_claim.batch_id)
