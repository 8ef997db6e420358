"""What customers bring: uploads, recordings, objects of the inbox."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from audiomill.database.tables.base import Base, now


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
    created_at: Mapped[datetime] = now()
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
    created_at: Mapped[datetime] = now()


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
    named_by: Mapped[str | None] = mapped_column(comment="the key of the manifest that names it as an input")
    seen_at: Mapped[datetime] = now()
    gone_at: Mapped[datetime | None] = mapped_column(comment="the object was found to be gone")
