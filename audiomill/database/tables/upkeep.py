"""What the platform knows of itself: engines of its workers, places of its sweeps."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from audiomill.database.tables.base import Base, now


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
    heartbeat_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime] = mapped_column(comment="the word holds until then")


class SweepPlace(Base):
    """Where a sweep of audiomill/retention goes on."""

    __tablename__ = "sweeps"
    name: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[str | None] = mapped_column(comment="NULL: at the beginning")
    swept_at: Mapped[datetime] = now()


class EngineSpeed(Base):
    """How fast an engine is here (audiomill/jobs/speeds.py): the median of what workspaces saw lately."""

    __tablename__ = "engine_speeds"
    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True, comment="'' where the engine has no choice")
    resource_class: Mapped[str] = mapped_column(primary_key=True)
    factor: Mapped[float] = mapped_column(comment="engine seconds for a second of sound")


class WorkspaceSpeed(Base):
    """How fast an engine was lately with one workspace's sound: sums that fade with each batch."""

    __tablename__ = "workspace_speeds"
    __table_args__ = (
        Index("ix_workspace_speeds_newest", "engine", "model", "resource_class", text("measured_at DESC")),
    )
    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True, comment="'' where the engine has no choice")
    resource_class: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    audio_seconds: Mapped[float]
    engine_seconds: Mapped[float]
    measured_at: Mapped[datetime] = now()
