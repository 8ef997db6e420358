"""The inbox: objects under `inbox/<workspace>/<recipe>/…` become jobs, each content once, none passed over unsaid.

The bucket is swept page by page, over and over: a cursor that only moved forward would miss every object whose key
sorts before it. What became of an object is kept in `inbox_entries`, so that a sweep of known objects costs one listing
and one query a page.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import rfc8785
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.catalogue.recipes import recipe
from audiomill.database.tables import InboxEntry, Workspace
from audiomill.errors import BadRequest, CustomerError, EngineUnavailable, NotFound
from audiomill.jobs.inputs import display_name
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, ObjectStore
from audiomill.storage.keys import INBOX

_LOCK = 7_236_120_003


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


def take_page(session: Session, store: ObjectStore, *, after: str | None, settings: Settings) -> InboxTally:
    """Take one page of the inbox. Safe with several takers: while one is at it, another takes nothing."""
    page = store.list_page(INBOX, after=after, limit=settings.inbox.page_size)
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
        return InboxTally(0, 0, 0, 0, after)
    known = {
        row.object_key: (row.signature, row.version, row.outcome)
        for row in session.execute(
            select(InboxEntry.object_key, InboxEntry.signature, InboxEntry.version, InboxEntry.outcome).where(
                InboxEntry.object_key.in_([info.key for info in page.objects])
            )
        )
    }
    workspaces = set(session.scalars(select(Workspace.id)))
    taken: list[_Found] = []
    rejected = waiting = 0
    for info in page.objects:
        entry = known.get(info.key)
        unchanged = entry is not None and entry[0] == info.signature
        if entry is not None and unchanged and (entry[2] == "submitted" or entry[1] is not None):
            continue
        if info.settled_seconds < settings.inbox.settle_seconds:
            waiting += 1
            continue
        try:
            workspace_id, recipe_name = _place(info.key, workspaces)
            version = store.version(info.key)
        except NotFound:
            # Gone between listing and reading: there is nothing to take, and nothing to say to anyone.
            continue
        except BadRequest as error:
            # Looked at anew with each sweep, since its workspace may be made later; said once.
            if not unchanged:
                _note(session, [info], outcome="rejected", reason=error.message)
                rejected += 1
            continue
        if entry is not None and entry[1] == version and entry[2] == "submitted":
            # Written again with the same bytes.
            _note(session, [info], outcome="submitted", version=version)
            continue
        taken.append(_Found(info, workspace_id, recipe_name, version))
    submitted, refused, later = _submit(session, taken, settings)
    return InboxTally(len(page.objects), submitted, rejected + refused, waiting + later, page.next_after)


def _place(key: str, workspaces: set[str]) -> tuple[str, str]:
    parts = key.removeprefix(INBOX).split("/")
    if len(parts) < 3:  # noqa: PLR2004 - workspace, recipe, name
        raise BadRequest("Put files under inbox/<workspace>/<recipe>/.", code="bad_inbox_key")
    if any(part in {"", ".", ".."} for part in parts):
        raise BadRequest("The key has an empty part, '.' or '..'. Name each folder plainly.", code="bad_inbox_key")
    if parts[0] not in workspaces:
        raise BadRequest(f"There is no workspace {parts[0]!r}.", code="workspace_not_found")
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
