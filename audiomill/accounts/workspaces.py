"""Workspaces: making and finding them. Members, roles and balances come with the front; keys are in `keys.py`."""

import re

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.database.tables import Workspace
from audiomill.errors import BadRequest, NotFound

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A workspace's id stands in object keys and URLs: the rule of a DNS label, without its capital letters."""


def ensure_workspace(session: Session, workspace_id: str, name: str | None = None, tier: int = 0) -> Workspace:
    """The workspace of that id, made with this name and tier if it is not there; safe from many callers at once.

    An existing one stays as it is. Raises BadRequest (`bad_workspace`) for an id that is no slug.
    """
    if not SLUG.fullmatch(workspace_id):
        raise BadRequest(
            f"{workspace_id[:80]!r} cannot be a workspace's id. Use 1 to 63 of a-z, 0-9 and '-', "
            "beginning with a letter or digit.",
            code="bad_workspace",
        )
    session.execute(
        insert(Workspace)
        .values(id=workspace_id, name=name or workspace_id, tier=tier)
        .on_conflict_do_nothing(index_elements=[Workspace.id])
    )
    return get_workspace(session, workspace_id)


def get_workspace(session: Session, workspace_id: str) -> Workspace:
    """The workspace of that id. Raises NotFound (`workspace_not_found`)."""
    workspace = session.get(Workspace, workspace_id)
    if workspace is None:
        raise NotFound(f"There is no workspace {workspace_id[:80]!r}.", code="workspace_not_found")
    return workspace


def keep_for(session: Session, workspace_id: str, days: int | None) -> None:
    """Keep the workspace's jobs, outputs and recordings for so many days after a job ended; None: for ever.

    Raises NotFound, BadRequest (`bad_retention`).
    """
    if days is not None and days < 1:
        raise BadRequest("Keep jobs for a day at least.", code="bad_retention")
    get_workspace(session, workspace_id).retention_days = days


def list_workspaces(session: Session) -> list[Workspace]:
    """All workspaces, by id."""
    return list(session.scalars(select(Workspace).order_by(Workspace.id)))
