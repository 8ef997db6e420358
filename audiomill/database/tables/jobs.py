"""Submissions, jobs and what happened to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from audiomill.database.tables.base import Base, now, states


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
    created_at: Mapped[datetime] = now()


class Job(Base):
    """One recipe applied to its inputs. State is written by jobs.submit and jobs.transition only."""

    __tablename__ = "jobs"
    __table_args__ = (
        states("queued", "running", "complete", "failed", "cancelled"),
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
    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"), index=True, comment="its first input")
    filename: Mapped[str] = mapped_column(comment="of its first input, as this order calls it")
    recipe: Mapped[str]
    capability: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(comment="frozen at submission, `auto` resolved")
    plan: Mapped[dict[str, Any]] = mapped_column(comment="its steps, frozen at submission, every engine resolved")
    revision: Mapped[int] = mapped_column(server_default="1", comment="the current one")
    tier: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(server_default="queued")
    stage: Mapped[str] = mapped_column(comment="the stage of `step`")
    step: Mapped[str] = mapped_column(comment="the step that moved last: that is at work, or that it ended with")
    progress: Mapped[float] = mapped_column(server_default="0", comment="share done of all steps, weighed, 0 to 1")
    failure_code: Mapped[str | None]
    failure_reason: Mapped[str | None] = mapped_column(comment="a sentence for the customer")
    warnings: Mapped[list[dict[str, str]]] = mapped_column(
        server_default="[]", comment="code and sentence of each thing that its customer should know of the result"
    )
    event_seq: Mapped[int] = mapped_column(server_default="0", comment="number of the newest event")
    created_at: Mapped[datetime] = now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobInput(Base):
    """What a job is applied to: a recording, in a role."""

    __tablename__ = "job_inputs"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, comment="place within the role")
    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"), index=True)
    filename: Mapped[str] = mapped_column(comment="as this order calls it")


class Revision(Base):
    """A way through a job's plan after the first, which is the order itself: of an edit.

    open until its last item ended; then it is the job's current one, or the one before stays that.
    """

    __tablename__ = "revisions"
    __table_args__ = (
        states("open", "complete", "failed", "cancelled"),
        Index("uq_revisions_open", "job_id", unique=True, postgresql_where=text("state = 'open'")),
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    base: Mapped[int] = mapped_column(comment="the revision that it was made from")
    edited_lines: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="open")
    failure_code: Mapped[str | None]
    failure_reason: Mapped[str | None] = mapped_column(comment="a sentence for the customer")
    created_at: Mapped[datetime] = now()
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
    at: Mapped[datetime] = now()
