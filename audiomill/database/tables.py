"""The tables. Columns and constraints only; what may change them is in audiomill/jobs and audiomill/accounts.

Text states are held by CHECK constraints; the allowed transitions are in audiomill/jobs/states.py.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        datetime: DateTime(timezone=True),
        str: Text(),
        float: Double(),
        dict[str, Any]: JSONB(),
        list[dict[str, str]]: JSONB(),
        list[str]: JSONB(),
    }


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.clock_timestamp())


def _states(*names: str) -> CheckConstraint:
    listed = ", ".join(f"'{name}'" for name in names)
    return CheckConstraint(f"state IN ({listed})", name="state")


class Workspace(Base):
    """A tenant. `id` is its slug, as it stands in inbox keys."""

    __tablename__ = "workspaces"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    tier: Mapped[int] = mapped_column(server_default="0", comment="higher goes first")
    retention_days: Mapped[int | None] = mapped_column(
        comment="jobs that ended longer ago go, with outputs and recordings; NULL: kept"
    )
    allowed_bytes: Mapped[int | None] = mapped_column(
        BigInteger, comment="what it may keep in the store; NULL: the setting limits.workspace_bytes"
    )
    created_at: Mapped[datetime] = _now()


class ApiKey(Base):
    """A key of the API. Only its SHA-256 is kept: keys are random, so a slow hash would add nothing."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    hint: Mapped[str] = mapped_column(comment="the first characters, to recognise it by")
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = _now()
    revoked_at: Mapped[datetime | None]


class Upload(Base):
    """A place in the store that a client may write one recording to."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    object_key: Mapped[str] = mapped_column(unique=True)
    filename: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger, comment="as announced")
    signature: Mapped[str | None] = mapped_column(comment="of the object when its bytes were hashed as they came")
    sha256: Mapped[str | None]
    ordered: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="a recording has its object, and is counted in its stead"
    )
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Recording(Base):
    """One object that a customer gave. `sha256` is known once it was read whole.

    What an order says of it (its name, whether it is taken as sound or as text) is the job's.
    """

    __tablename__ = "recordings"
    __table_args__ = (UniqueConstraint("workspace_id", "object_key", "object_version"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    object_key: Mapped[str]
    object_version: Mapped[str] = mapped_column(comment="the store's entity tag: changes with the content")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(index=True)
    duration_seconds: Mapped[float | None]
    created_at: Mapped[datetime] = _now()


class Submission(Base):
    """One request that made 1 to N jobs."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("workspace_id", "idempotency_key"),
        CheckConstraint("source IN ('inbox', 'api', 'operator', 'schedule')", name="source"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    source: Mapped[str]
    idempotency_key: Mapped[str]
    request_sha256: Mapped[str] = mapped_column(comment="of the order, so that a key is not used for another")
    created_at: Mapped[datetime] = _now()


class Job(Base):
    """One recipe applied to one recording. State is written by jobs.submit and jobs.transition only."""

    __tablename__ = "jobs"
    __table_args__ = (
        _states("queued", "running", "complete", "failed", "cancelled"),
        UniqueConstraint("submission_id", "position"),
        # Lists are pages of the newest, by workspace or for operators, of all states or of one that is rare.
        Index("ix_jobs_newest", "workspace_id", text("created_at DESC"), text("id DESC")),
        Index("ix_jobs_newest_by_state", "workspace_id", "state", text("created_at DESC"), text("id DESC")),
        Index("ix_jobs_newest_of_all", text("created_at DESC"), text("id DESC")),
        Index("ix_jobs_newest_of_all_by_state", "state", text("created_at DESC"), text("id DESC")),
        Index("ix_jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(comment="place within the submission")
    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"), index=True)
    filename: Mapped[str] = mapped_column(comment="of its input, as this order calls it")
    recipe: Mapped[str]
    capability: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(comment="frozen at submission, `auto` resolved")
    tier: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(server_default="queued")
    stage: Mapped[str] = mapped_column(comment="the stage that it is in, or was in when it ended")
    progress: Mapped[float] = mapped_column(server_default="0", comment="share done, 0 to 1")
    failure_code: Mapped[str | None]
    failure_reason: Mapped[str | None] = mapped_column(comment="a sentence for the customer")
    warnings: Mapped[list[dict[str, str]]] = mapped_column(
        server_default="[]", comment="code and sentence of each thing that its customer should know of the result"
    )
    event_seq: Mapped[int] = mapped_column(server_default="0", comment="number of the newest event")
    created_at: Mapped[datetime] = _now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobEvent(Base):
    """What happened to a job, numbered per job without gaps: what server-sent events replay."""

    __tablename__ = "job_events"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    stage: Mapped[str]
    progress: Mapped[float]
    reason: Mapped[str | None]
    at: Mapped[datetime] = _now()


class Batch(Base):
    """Work items of one lane that one run works off. `id` is the partition key of the stage's asset."""

    __tablename__ = "batches"
    __table_args__ = (
        _states("formed", "running", "closed", "cancelled"),
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
    worker: Mapped[str | None] = mapped_column(comment="its process: machine, process id, start (jobs/workers.py)")
    lease_expires_at: Mapped[datetime | None] = mapped_column(comment="NULL: no lease")
    requested_at: Mapped[datetime | None] = mapped_column(comment="a run was asked for")
    note: Mapped[str | None] = mapped_column(comment="why it ended, for operators")
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None] = mapped_column(comment="its partition key was taken from Dagster")


class WorkItem(Base):
    """One stage of one job: what is queued, batched, leased, retried."""

    __tablename__ = "work_items"
    __table_args__ = (
        _states("queued", "batched", "running", "complete", "failed", "cancelled"),
        CheckConstraint("(state IN ('batched', 'running')) <= (batch_id IS NOT NULL)", name="batched"),
        UniqueConstraint("job_id", "stage"),
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
    stage: Mapped[str]
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
    created_at: Mapped[datetime] = _now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Turn(Base):
    """Whose turn it is when batches are formed (audiomill/jobs/turns.py): a row for each lane and resource class."""

    __tablename__ = "turns"
    queue: Mapped[str] = mapped_column(primary_key=True, comment="a lane, or a resource class")
    last_workspace: Mapped[str | None] = mapped_column(comment="of a lane: the next batch begins after it")
    contested: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="of a class: batches formed while several tiers waited"
    )
    served_at: Mapped[datetime] = _now()


class LanePause(Base):
    """A lane whose newest run broke or was stopped: nothing of it is batched until then. Gone when a batch closes."""

    __tablename__ = "lane_pauses"
    lane: Mapped[str] = mapped_column(primary_key=True)
    breaks: Mapped[int] = mapped_column(comment="one after the other, without an item that ended: doubles the pause")
    until: Mapped[datetime]
    note: Mapped[str] = mapped_column(comment="what broke last, for operators")


class EngineSpeed(Base):
    """How fast an engine was here lately (audiomill/jobs/speeds.py): sums that fade with each batch."""

    __tablename__ = "engine_speeds"
    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True, comment="'' where the engine has no choice")
    resource_class: Mapped[str] = mapped_column(primary_key=True)
    audio_seconds: Mapped[float]
    engine_seconds: Mapped[float]


class Artifact(Base):
    """A stage's stored result, content-addressed within a workspace."""

    __tablename__ = "artifacts"
    key: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of what it was made from and how")
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    stage: Mapped[str]
    object_key: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int | None] = mapped_column(
        BigInteger, comment="NULL: made before sizes were noted, and not measured since"
    )
    details: Mapped[dict[str, Any]] = mapped_column(comment="engine, model, hashes, durations, checks: no content")
    created_at: Mapped[datetime] = _now()
    used_at: Mapped[datetime] = mapped_column(
        server_default=func.clock_timestamp(), comment="made, or recalled by a run that may refer to it"
    )


class Output(Base):
    """One deliverable file of a job; immutable. A receipt is an output too, named `<file>.receipt.json`."""

    __tablename__ = "outputs"
    __table_args__ = (UniqueConstraint("job_id", "name", "version"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    name: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    object_key: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[datetime] = _now()


class WorkspaceUsage(Base):
    """What a workspace keeps in the store, as far as the changes were folded in (audiomill/accounts/space.py)."""

    __tablename__ = "workspace_usage"
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)


class UsageChange(Base):
    """A change of it, written by triggers in the transaction that changed it. Only added and folded: nobody waits.

    No foreign key: what a workspace keeps goes after the workspace.
    """

    __tablename__ = "usage_changes"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)


class InboxEntry(Base):
    """What became of an object of the inbox, so that no object is taken twice and none is passed over unsaid."""

    __tablename__ = "inbox_entries"
    __table_args__ = (
        CheckConstraint("outcome IN ('submitted', 'rejected', 'waiting', 'failed')", name="outcome"),
        Index("ix_inbox_entries_place", "object_key", postgresql_ops={"object_key": "text_pattern_ops"}),
        Index("ix_inbox_entries_newest", text("seen_at DESC")),
        Index("ix_inbox_entries_newest_by_outcome", "outcome", text("seen_at DESC")),
    )
    object_key: Mapped[str] = mapped_column(primary_key=True)
    signature: Mapped[str] = mapped_column(comment="what listing shows: a cheap sign that it changed")
    written: Mapped[str | None] = mapped_column(comment="the part of it that only writing changes")
    version: Mapped[str | None] = mapped_column(comment="entity tag of what was submitted")
    outcome: Mapped[str]
    reason: Mapped[str | None]
    submission_id: Mapped[str | None]
    seen_at: Mapped[datetime] = _now()
    gone_at: Mapped[datetime | None] = mapped_column(comment="the object was found to be gone")


class SweepPlace(Base):
    """Where a sweep of audiomill/retention goes on."""

    __tablename__ = "sweeps"
    name: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[str | None] = mapped_column(comment="NULL: at the beginning")
    swept_at: Mapped[datetime] = _now()


class EngineAvailability(Base):
    """What a worker says that it can run. A word that has expired is nobody's, and goes with the next report."""

    __tablename__ = "engine_availability"
    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True, comment="'' where the engine has no choice")
    resource_class: Mapped[str] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str]
    preference: Mapped[int] = mapped_column(comment="0 is the best of its task")
    available: Mapped[bool] = mapped_column(Boolean)
    lacks: Mapped[str | None]
    languages: Mapped[list[str] | None] = mapped_column(comment="NULL: any")
    licence: Mapped[str] = mapped_column(server_default="")
    features: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    default_model: Mapped[bool] = mapped_column(server_default=text("true"))
    heartbeat_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime] = mapped_column(comment="the word holds until then")


__all__ = [
    "ApiKey",
    "Artifact",
    "Base",
    "Batch",
    "EngineAvailability",
    "EngineSpeed",
    "InboxEntry",
    "Job",
    "JobEvent",
    "LanePause",
    "Output",
    "Recording",
    "Submission",
    "SweepPlace",
    "Turn",
    "Upload",
    "UsageChange",
    "WorkItem",
    "Workspace",
    "WorkspaceUsage",
]
