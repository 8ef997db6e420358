"""What was made: artifacts of stages, outputs of jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from audiomill.database.tables.base import Base, now


class Artifact(Base):
    """A stage's stored result, content-addressed within a workspace.

    One of one file is the part named `result`, said by `object_key` and `sha256` alone.
    """

    __tablename__ = "artifacts"
    key: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of what it was made from and how")
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    stage: Mapped[str]
    object_key: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int | None] = mapped_column(
        BigInteger, comment="NULL: made before sizes were noted, and not measured since"
    )
    parts: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True),
        comment="its files by name: object_key, sha256, size_bytes, media_type; NULL: one, named result",
    )
    details: Mapped[dict[str, Any]] = mapped_column(comment="engine, model, hashes, durations, checks: no content")
    created_at: Mapped[datetime] = now()
    used_at: Mapped[datetime] = mapped_column(
        server_default=func.clock_timestamp(), comment="made, or recalled by a run that may refer to it"
    )


class Output(Base):
    """One deliverable file of a job; immutable. A receipt is an output too, named `<file>.receipt.json`.

    `version` is the revision that made it.
    """

    __tablename__ = "outputs"
    __table_args__ = (UniqueConstraint("job_id", "name", "version"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step: Mapped[str | None] = mapped_column(comment="that made it; NULL: made before jobs had revisions")
    name: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    object_key: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[datetime] = now()
