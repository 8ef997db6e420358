"""Workspaces, their keys, and what they keep."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from audiomill.database.tables.base import Base, now


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
    created_at: Mapped[datetime] = now()


class ApiKey(Base):
    """A key of the API. Only its SHA-256 is kept: keys are random, so a slow hash would add nothing."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    hint: Mapped[str] = mapped_column(comment="the first characters, to recognise it by")
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = now()
    revoked_at: Mapped[datetime | None]


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
