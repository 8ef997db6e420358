"""API keys: making, listing, revoking. The check is in key_check.py; what a key may do comes with roles.

A key is `am_` and 32 random bytes in base64url. Only its SHA-256 is kept: 256 random bits cannot be guessed, so a
slow hash would add nothing. The check is one look-up by that hash in a unique index: no two texts are compared, so no
time of a comparison can leak.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from ulid import ULID

from audiomill.accounts.workspaces import get_workspace
from audiomill.database.tables import ApiKey
from audiomill.errors import BadRequest, NotFound, Unauthorized

PREFIX = "am_"
"""Lets secret scanners, and people, recognise a key."""

_FORM = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_HINT_CHARACTERS = 8


@dataclass(frozen=True)
class CreatedKey:
    """A new key. `plaintext` is shown once and kept nowhere."""

    id: str
    plaintext: str
    workspace_id: str

    def __repr__(self) -> str:
        # A log line or a traceback must not hold the key.
        return f"CreatedKey(id={self.id!r}, workspace_id={self.workspace_id!r})"


@dataclass(frozen=True)
class Principal:
    """Who asks: a key of a workspace."""

    workspace_id: str
    key_id: str


@dataclass(frozen=True)
class KeyView:
    """A key as its owner sees it. `hint` is its first characters."""

    id: str
    workspace_id: str
    name: str
    hint: str
    created_at: datetime
    revoked_at: datetime | None


def create_key(session: Session, *, workspace_id: str, name: str) -> CreatedKey:
    """Make a key. Raises NotFound (`workspace_not_found`), BadRequest (`bad_key_name`)."""
    get_workspace(session, workspace_id)
    if not _NAME.fullmatch(name):
        raise BadRequest("A key's name has 1 to 100 characters on one line.", code="bad_key_name")
    plaintext = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=f"key_{str(ULID()).lower()}",
        workspace_id=workspace_id,
        name=name,
        hint=plaintext[:_HINT_CHARACTERS],
        sha256=sha256_of(plaintext),
    )
    session.add(key)
    session.flush()
    return CreatedKey(key.id, plaintext, workspace_id)


def has_the_form_of_a_key(plaintext: str) -> bool:
    """Whether it could be a key at all: what could not need not be looked up."""
    return _FORM.fullmatch(plaintext) is not None


def unknown_key() -> Unauthorized:
    """The error for a key that never was, and for a revoked one."""
    return Unauthorized("The API key is unknown or was revoked. Use a valid key of your workspace.", code="unknown_key")


def sha256_of(plaintext: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(plaintext.encode()).hexdigest()


def list_keys(session: Session, workspace_id: str) -> list[KeyView]:
    """The keys of a workspace, newest first, revoked ones too. Raises NotFound (`workspace_not_found`)."""
    get_workspace(session, workspace_id)
    rows = session.scalars(
        select(ApiKey).where(ApiKey.workspace_id == workspace_id).order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    )
    return [_view(row) for row in rows]


def revoke_key(session: Session, *, workspace_id: str, key_id: str) -> KeyView:
    """End a key for good; a second time changes nothing. Raises NotFound (`key_not_found`)."""
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.workspace_id == workspace_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
    )
    key = session.scalar(
        select(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.workspace_id == workspace_id)
        .execution_options(populate_existing=True)
    )
    if key is None:
        raise NotFound(f"There is no key {key_id[:80]!r} in the workspace {workspace_id!r}.", code="key_not_found")
    return _view(key)


def _view(key: ApiKey) -> KeyView:
    return KeyView(key.id, key.workspace_id, key.name, key.hint, key.created_at, key.revoked_at)
