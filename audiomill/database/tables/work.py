"""Work items, the batches that they run in, and whose turn it is."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from audiomill.database.tables.base import Base, now, states


class Batch(Base):
    """Work items of one lane that one run works off. `id` is the partition key of the stage's asset."""

    __tablename__ = "batches"
    __table_args__ = (
        states("formed", "running", "closed", "cancelled"),
        Index(
            "ix_batches_open",
            "resource_class",
            "created_at",
            postgresql_where=text("state IN ('formed', 'running')"),
        ),
        Index("ix_batches_run", "run_id"),
        Index(
            "ix_batches_retirable",
            "finished_at",
            postgresql_where=text("retired_at IS NULL AND state IN ('closed', 'cancelled')"),
        ),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[str]
    stage: Mapped[str]
    engine: Mapped[str]
    model: Mapped[str | None]
    resource_class: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="formed")
    item_count: Mapped[int]
    audio_seconds: Mapped[float] = mapped_column(comment="estimated from sizes")
    fencing: Mapped[int] = mapped_column(BigInteger, server_default="0", comment="grows with every lease")
    run_id: Mapped[str | None] = mapped_column(comment="of the newest lease")
    worker: Mapped[str | None] = mapped_column(
        comment="its process: machine, process id, start (jobs/batches/workers.py)"
    )
    lease_expires_at: Mapped[datetime | None] = mapped_column(comment="NULL: no lease")
    requested_at: Mapped[datetime | None] = mapped_column(comment="a run was asked for")
    note: Mapped[str | None] = mapped_column(comment="why it ended, for operators")
    created_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None] = mapped_column(comment="its partition key was taken from Dagster")


class WorkItem(Base):
    """One step of one revision of a job: what waits, is queued, batched, leased, retried.

    Items of a job have ascending ids in the order of its plan: who locks one after the other goes that way.
    """

    __tablename__ = "work_items"
    __table_args__ = (
        states("waiting", "queued", "batched", "running", "complete", "failed", "cancelled"),
        CheckConstraint("(state IN ('batched', 'running')) <= (batch_id IS NOT NULL)", name="batched"),
        UniqueConstraint("job_id", "revision", "step"),
        Index(
            "ix_work_items_queue",
            "lane",
            "workspace_id",
            "created_at",
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        Index("ix_work_items_batch", "batch_id"),
        Index(
            "ix_work_items_handed_back",
            "hand_backs",
            postgresql_where=text("hand_backs > 0 AND state IN ('queued', 'batched', 'running')"),
        ),
        Index("ix_work_items_artifact", "artifact_key", postgresql_where=text("artifact_key IS NOT NULL")),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    workspace_id: Mapped[str]
    revision: Mapped[int] = mapped_column(server_default="1")
    made_in: Mapped[int] = mapped_column(
        server_default="1",
        comment="the revision that made its result: an earlier one where nothing that it reads changed",
    )
    step: Mapped[str]
    stage: Mapped[str]
    options: Mapped[dict[str, Any]] = mapped_column(comment="the step's own, its engine resolved")
    reads: Mapped[list[str]] = mapped_column(comment="input:<role>, input:<role>*, or <step>/<part>")
    waits_for: Mapped[int] = mapped_column(server_default="0", comment="steps that it reads and that have not ended")
    optional: Mapped[bool] = mapped_column(server_default=text("false"), comment="its failure is a warning")
    delivers: Mapped[bool] = mapped_column(server_default=text("true"), comment="its files are outputs of the job")
    weight: Mapped[float] = mapped_column(server_default="1", comment="of the job's progress")
    progress: Mapped[float] = mapped_column(server_default="0", comment="share done, 0 to 1")
    engine: Mapped[str]
    model: Mapped[str | None]
    resource_class: Mapped[str]
    tier: Mapped[int]
    length_class: Mapped[str]
    lane: Mapped[str] = mapped_column(comment="stage|engine|model|resource class|tier|length class")
    audio_seconds: Mapped[float] = mapped_column(comment="estimated from the size until it was read")
    expected_seconds: Mapped[float] = mapped_column(
        server_default="0", comment="of its engine's time, as expected when it was ordered"
    )
    state: Mapped[str] = mapped_column(server_default="queued")
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"))
    attempts: Mapped[int] = mapped_column(server_default="0", comment="times that a run began it")
    interruptions: Mapped[int] = mapped_column(
        server_default="0", comment="times that it was begun and its run died, or gave it back: nobody's fault"
    )
    crashes: Mapped[int] = mapped_column(
        server_default="0", comment="times that a run died, or hung, while this was inside an engine call: proven"
    )
    hand_backs: Mapped[int] = mapped_column(
        server_default="0",
        comment="times that it went back alone, through a fault of ours: past a bound it is given up",
    )
    hand_back_note: Mapped[str | None] = mapped_column(comment="why it went back last, for operators")
    available_at: Mapped[datetime | None] = mapped_column(comment="given back: not batched before")
    run_id: Mapped[str | None] = mapped_column(index=True, comment="the Dagster run that began it last")
    artifact_key: Mapped[str | None]
    processing_seconds: Mapped[float | None] = mapped_column(comment="engine's time for it")
    failure_code: Mapped[str | None]
    failure_reason: Mapped[str | None]
    warnings: Mapped[list[dict[str, str]]] = mapped_column(
        server_default="[]", comment="those of its job that it found"
    )
    created_at: Mapped[datetime] = mapped_column(
        server_default=func.clock_timestamp(), comment="since when it is queued, or waits"
    )
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Turn(Base):
    """Whose turn it is when batches are formed (jobs/batches/turns.py): a row for each lane and resource class."""

    __tablename__ = "turns"
    queue: Mapped[str] = mapped_column(primary_key=True, comment="a lane, or a resource class")
    last_workspace: Mapped[str | None] = mapped_column(comment="of a lane: the next batch begins after it")
    contested: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="of a class: batches formed while several tiers waited"
    )
    served_at: Mapped[datetime] = now()


class LanePause(Base):
    """A lane whose newest run broke or was stopped: nothing of it is batched until then. Gone when a batch closes."""

    __tablename__ = "lane_pauses"
    lane: Mapped[str] = mapped_column(primary_key=True)
    breaks: Mapped[int] = mapped_column(comment="one after the other, without an item that ended: doubles the pause")
    until: Mapped[datetime]
    note: Mapped[str] = mapped_column(comment="what broke last, for operators")
