"""The inbox: objects under `inbox/<workspace>/<recipe>/…` become jobs, each content once, none passed over unsaid.

The bucket is swept page by page, over and over: a cursor that only moved forward would miss every object whose key
sorts before it. What became of an object is kept in `inbox_entries`, so that a sweep of known objects costs one listing
and one query a page.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import rfc8785
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.catalogue.recipes import recipe
from audiomill.database.connection import Database
from audiomill.database.tables import InboxEntry, Workspace
from audiomill.errors import BadRequest, CustomerError, EngineUnavailable, NotFound
from audiomill.jobs.inputs import display_name
from audiomill.jobs.submission import InputObject, NewJob, recording_too_large, submit
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, ObjectStore, Page
from audiomill.storage.keys import INBOX

_LOCK = 7_236_120_003

MOST_READ_BYTES = 2 * 1024**3
"""Files read in one page: SHA-256 takes some 3 s for so many, a slow disk 20 s, and a sensor's tick may last 60."""


@dataclass(frozen=True)
class InboxTally:
    """What one page came to. `next_after` is where the sweep goes on; None: it is through, begin again."""

    looked_at: int
    submitted: int
    rejected: int
    waiting: int
    next_after: str | None


@dataclass(frozen=True)
class InboxEntryView:
    """What became of one object."""

    object_key: str
    outcome: str
    reason: str | None
    submission_id: str | None
    seen_at: datetime


@dataclass(frozen=True)
class _Found:
    """An object in its place."""

    info: ObjectInfo
    workspace_id: str
    recipe: str
    version: str


@dataclass(frozen=True)
class _Entry:
    """What is noted of an object."""

    signature: str | None
    version: str | None
    outcome: str | None

    def settles(self, info: ObjectInfo) -> bool:
        """Whether nothing is left to do for the object as it is. A wrong place may become a right one later."""
        return self.signature == info.signature and (self.outcome == "submitted" or self.version is not None)


_NEW = _Entry(None, None, None)


@dataclass
class _Look:
    """A page looked at: what is in its place, what cannot be, and where the rest begins."""

    next_after: str | None
    looked_at: int = 0
    waiting: int = 0
    found: list[_Found] = field(default_factory=list)
    refused: list[tuple[ObjectInfo, str]] = field(default_factory=list)


def take_page(database: Database, store: ObjectStore, *, after: str | None, settings: Settings) -> InboxTally:
    """Take one page of the inbox. Safe with several takers: while one submits, another takes nothing.

    Files are read (a local store must, to know their version) between two transactions, so that nothing is locked
    meanwhile; and no more than `MOST_READ_BYTES` of them, or one file: what is left of the page is the next page.
    """
    page = store.list_page(INBOX, after=after, limit=settings.inbox.page_size)
    with database.session() as session:
        known = _known(session, page.objects)
        workspaces = set(session.scalars(select(Workspace.id)))
    look = _look(store, page, known, workspaces, settings)
    with database.session() as session:
        if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
            return InboxTally(0, 0, 0, 0, after)
        # Another taker may have been through this page since we looked.
        current = _known(session, [found.info for found in look.found] + [info for info, _ in look.refused])
        refused = [(info, why) for info, why in look.refused if current.get(info.key, _NEW).signature != info.signature]
        for info, why in refused:
            _note(session, [info], outcome="rejected", reason=why)
        taken = []
        for found in look.found:
            entry = current.get(found.info.key, _NEW)
            if entry.settles(found.info):
                continue
            if entry.version == found.version and entry.outcome == "submitted":
                # Written again with the same bytes.
                _note(session, [found.info], outcome="submitted", version=found.version)
            else:
                taken.append(found)
        submitted, rejected, later = _submit(session, taken, settings)
    return InboxTally(look.looked_at, submitted, len(refused) + rejected, look.waiting + later, look.next_after)


def _known(session: Session, infos: Sequence[ObjectInfo]) -> dict[str, _Entry]:
    columns = (InboxEntry.object_key, InboxEntry.signature, InboxEntry.version, InboxEntry.outcome)
    rows = session.execute(select(*columns).where(InboxEntry.object_key.in_([info.key for info in infos])))
    return {row.object_key: _Entry(row.signature, row.version, row.outcome) for row in rows}


def _look(store: ObjectStore, page: Page, known: dict[str, _Entry], workspaces: set[str], settings: Settings) -> _Look:
    """Find what is to be taken, and its versions."""
    look = _Look(next_after=page.next_after)
    read_bytes = 0
    for info in page.objects:
        entry = known.get(info.key, _NEW)
        if entry.settles(info):
            look.looked_at += 1
            continue
        if info.settled_seconds < settings.inbox.settle_seconds:
            look.looked_at += 1
            look.waiting += 1
            continue
        if info.version is None and read_bytes and read_bytes + info.size_bytes > MOST_READ_BYTES:
            look.next_after = page.objects[look.looked_at - 1].key
            break
        look.looked_at += 1
        try:
            workspace_id, recipe_name = _place(info.key, workspaces)
            if info.size_bytes > settings.limits.max_bytes:
                raise recording_too_large(display_name(info.key), info.size_bytes, settings)
            version = info.version
            if version is None:
                version = store.version(info.key)
                read_bytes += info.size_bytes
        except NotFound:
            # Gone between listing and reading: there is nothing to take, and nothing to say to anyone.
            continue
        except CustomerError as error:
            # Looked at anew with each sweep, since its workspace may be made, or the limit raised, later; said once.
            if entry.signature != info.signature:
                look.refused.append((info, error.message))
            continue
        look.found.append(_Found(info, workspace_id, recipe_name, version))
    return look


def _place(key: str, workspaces: set[str]) -> tuple[str, str]:
    parts = key.removeprefix(INBOX).split("/")
    if len(parts) < 3:  # noqa: PLR2004 - workspace, recipe, name
        raise BadRequest("Put files under inbox/<workspace>/<recipe>/.", code="bad_inbox_key")
    if any(part in {"", ".", ".."} for part in parts):
        raise BadRequest("The key has an empty part, '.' or '..'. Name each folder plainly.", code="bad_inbox_key")
    if parts[0] not in workspaces:
        raise BadRequest(
            f"There is no workspace {parts[0]!r}. The folder below inbox/ names the workspace.",
            code="workspace_not_found",
        )
    recipe(parts[1])
    return parts[0], parts[1]


def _submit(session: Session, taken: Sequence[_Found], settings: Settings) -> tuple[int, int, int]:
    """One submission for what one workspace dropped for one recipe. Returns (submitted, rejected, later)."""
    groups: dict[tuple[str, str], list[_Found]] = {}
    for found in taken:
        groups.setdefault((found.workspace_id, found.recipe), []).append(found)
    submitted = rejected = later = 0
    limit = settings.limits.max_jobs_per_submission
    for (workspace_id, recipe_name), members in groups.items():
        for start in range(0, len(members), limit):
            part = members[start : start + limit]
            try:
                with session.begin_nested():
                    _submit_part(session, workspace_id, recipe_name, part, settings)
                submitted += len(part)
            except EngineUnavailable:
                # Not the customer's doing: tried again with the next sweep, when a worker may have spoken.
                later += len(part)
            except CustomerError:
                # One of them cannot be ordered (too large): find out which, one by one.
                done, refused = _one_by_one(session, workspace_id, recipe_name, part, settings)
                submitted, rejected = submitted + done, rejected + refused
    return submitted, rejected, later


def _one_by_one(
    session: Session, workspace_id: str, recipe_name: str, part: Sequence[_Found], settings: Settings
) -> tuple[int, int]:
    submitted = 0
    for found in part:
        try:
            with session.begin_nested():
                _submit_part(session, workspace_id, recipe_name, [found], settings)
            submitted += 1
        except CustomerError as error:
            _note(session, [found.info], outcome="rejected", version=found.version, reason=error.message)
    return submitted, len(part) - submitted


def _submit_part(
    session: Session, workspace_id: str, recipe_name: str, part: Sequence[_Found], settings: Settings
) -> None:
    key = hashlib.sha256(rfc8785.dumps([[found.info.key, found.version] for found in part])).hexdigest()
    result = submit(
        session,
        workspace_id=workspace_id,
        source="inbox",
        idempotency_key=f"inbox:{key}",
        jobs=[
            NewJob(
                recipe_name,
                {},
                InputObject(found.info.key, found.version, found.info.size_bytes, display_name(found.info.key)),
            )
            for found in part
        ],
        settings=settings,
    )
    versions = {found.info.key: found.version for found in part}
    _note(
        session,
        [found.info for found in part],
        outcome="submitted",
        versions=versions,
        submission_id=result.submission_id,
    )


def _note(
    session: Session,
    infos: Sequence[ObjectInfo],
    *,
    outcome: str,
    version: str | None = None,
    versions: dict[str, str] | None = None,
    reason: str | None = None,
    submission_id: str | None = None,
) -> None:
    statement = insert(InboxEntry).values(
        [
            {
                "object_key": info.key,
                "signature": info.signature,
                "version": (versions or {}).get(info.key, version),
                "outcome": outcome,
                "reason": reason,
                "submission_id": submission_id,
            }
            for info in infos
        ]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["object_key"],
            set_={
                "signature": statement.excluded.signature,
                "version": statement.excluded.version,
                "outcome": statement.excluded.outcome,
                "reason": statement.excluded.reason,
                "submission_id": func.coalesce(statement.excluded.submission_id, InboxEntry.submission_id),
                "seen_at": func.clock_timestamp(),
            },
        )
    )


def recent_entries(session: Session, *, outcome: str | None = None, limit: int = 50) -> list[InboxEntryView]:
    """What became of the newest objects, newest first."""
    statement = select(InboxEntry).order_by(InboxEntry.seen_at.desc()).limit(limit)
    if outcome is not None:
        statement = statement.where(InboxEntry.outcome == outcome)
    return [
        InboxEntryView(row.object_key, row.outcome, row.reason, row.submission_id, row.seen_at)
        for row in session.scalars(statement)
    ]
