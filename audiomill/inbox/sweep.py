"""The inbox: what lies under `inbox/<workspace>/<recipe>/…` becomes jobs, each writing of it once, none unsaid.

The store is swept page by page, over and over: a cursor that only moved forward would miss every object whose key
sorts before it. What became of an object is kept in `inbox_entries` (entries.py), so that a sweep of known
objects costs one listing and one query a page.

**Nothing that one object is or does may end its page**: it is rejected with a sentence, or waits for an engine or
for room, or has failed by no fault of its own, which is logged once and tried again. Only the store's or the database's
absence ends a page, and the next tick takes it again.
"""

import hashlib
import traceback
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.accounts.space import Space, full, spaces
from audiomill.catalogue.recipes import recipe
from audiomill.database.connection import Database
from audiomill.errors import BadRequest, CustomerError, DatabaseUnavailable, EngineUnavailable, NotFound
from audiomill.inbox.entries import NEW, Entry, Note, known_entries, storable, write_left_out, write_notes
from audiomill.inbox.orders import Found, order_found
from audiomill.jobs.inputs import display_name
from audiomill.jobs.submission import planned_for, recording_too_large
from audiomill.settings import Settings
from audiomill.storage import LeftOut, ObjectInfo, ObjectStore, Page
from audiomill.storage.keys import INBOX

log = structlog.get_logger(__name__)

_LOCK = 7_236_120_003

MOST_READ_BYTES = 2 * 1024**3
"""Files read in one page: SHA-256 takes some 3 s for so many, a slow disk 20 s, and a sensor's tick may last 60."""

_FAILED = "audiomill could not take it. That is no fault of the file, and it is tried again every minute."


@dataclass(frozen=True)
class InboxTally:
    """What one page came to.

    next_after: where the sweep goes on; None: it is through, begin again.
    again: keys of what is still being written, or was not come to: worth another look soon.
    """

    looked_at: int
    submitted: int
    rejected: int
    waiting: int
    next_after: str | None
    again: tuple[str, ...] = ()


@dataclass
class _Look:
    """A page looked at: what is in its place, what is to be said of the rest, and where what was not come to begins."""

    next_after: str | None
    looked_at: int = 0
    waiting: int = 0
    found: list[Found] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    found_bytes: Counter[str] = field(default_factory=Counter)  # by workspace


@dataclass(frozen=True)
class _Circumstances:
    """What the database says of a page: entries, workspaces and their space, recipes that no engine does, with why."""

    known: dict[str, Entry]
    workspaces: dict[str, Space]
    unserved: dict[str, str]


class _StillWritten(Exception):
    """The object changed while it was read."""


def take_page(database: Database, store: ObjectStore, *, after: str | None, settings: Settings) -> InboxTally:
    """Take one page of the inbox. Safe with several takers: while one submits, another takes nothing.

    Files are read (a local store must, to know their version) between two transactions, so that nothing is locked
    meanwhile; and no more than `MOST_READ_BYTES` of them, or one file: what is left of the page is the next page.
    Raises StorageUnavailable, DatabaseUnavailable.
    """
    page = store.list_page(INBOX, after=after, limit=settings.inbox.page_size)
    return _take(database, store, page, settings, stay=after)


def take_keys(database: Database, store: ObjectStore, *, keys: Sequence[str], settings: Settings) -> InboxTally:
    """The same for keys that something happened to (an event of the file system), without listing. At most a page."""
    objects: list[ObjectInfo] = []
    keys = list(dict.fromkeys(keys))
    for key in keys[: settings.inbox.page_size]:
        try:
            objects.append(store.stat(key))
        except CustomerError:
            continue  # gone, a folder, or not to be read: the sweep says what is to be said
    tally = _take(database, store, Page(tuple(objects), None), settings, stay=None)
    return InboxTally(
        tally.looked_at,
        tally.submitted,
        tally.rejected,
        tally.waiting,
        None,
        (*tally.again, *keys[settings.inbox.page_size :]),
    )


def _take(database: Database, store: ObjectStore, page: Page, settings: Settings, *, stay: str | None) -> InboxTally:
    page = _of_storable_keys(page)
    with database.session() as session:
        circumstances = _circumstances(session, page.objects, settings)
        rejected = write_left_out(session, page.left_out)
    look = _look(store, page, circumstances, settings)
    submitted = 0
    if look.found or look.notes:
        with database.session() as session:
            if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
                return InboxTally(0, 0, rejected, 0, stay, tuple(info.key for info in page.objects))
            # Another taker may have been through this page since we looked.
            keys = [found.info.key for found in look.found] + [note.info.key for note in look.notes]
            current = known_entries(session, keys)
            said = [note for note in look.notes if not _is_said(current.get(note.info.key, NEW), note)]
            found = [each for each in look.found if not current.get(each.info.key, NEW).settles(each.info)]
            ordered = order_found(session, found, current, settings, failed=failed)
            write_notes(session, [*said, *ordered])
        submitted = sum(note.outcome == "submitted" and note.reason is None for note in ordered)
        rejected += sum(note.outcome == "rejected" for note in [*said, *ordered])
        look.waiting += sum(note.outcome in {"waiting", "failed"} for note in ordered)
    return InboxTally(look.looked_at, submitted, rejected, look.waiting, look.next_after, tuple(look.again))


def _is_said(entry: Entry, note: Note) -> bool:
    # A failure is said anew each time, for its age is what delays the next attempt.
    return entry.settles(note.info) or (note.outcome != "failed" and entry.says(note.info, note.outcome))


def _of_storable_keys(page: Page) -> Page:
    """The page without keys that the database cannot hold (S3 takes U+0000 in a key): these are left out and said."""
    odd = [info for info in page.objects if storable(info.key) != info.key]
    if not odd:
        return page
    told = [LeftOut(info.key, "It cannot be taken: its name has a zero character. Rename it.") for info in odd]
    objects = tuple(info for info in page.objects if storable(info.key) == info.key)
    return Page(objects, page.next_after, (*page.left_out, *told))


def _circumstances(session: Session, infos: Sequence[ObjectInfo], settings: Settings) -> _Circumstances:
    known = known_entries(session, [info.key for info in infos])
    new = [info for info in infos if not known.get(info.key, NEW).settles(info)]
    named = {info.key.removeprefix(INBOX).partition("/")[0] for info in new}
    workspaces = {space.workspace_id: space for space in spaces(session, settings, named)} if named else {}
    unserved: dict[str, str] = {}
    for name in {parts[2] for info in new if len(parts := info.key.split("/")) > 3}:  # noqa: PLR2004 - as in _place
        try:
            planned_for(session, name, {})
        except EngineUnavailable as error:
            unserved[name] = error.message
        except CustomerError:
            continue  # no such recipe: said of each object in its place
    return _Circumstances(known, workspaces, unserved)


def _look(store: ObjectStore, page: Page, circumstances: _Circumstances, settings: Settings) -> _Look:
    """Find what is to be taken, and its versions."""
    look = _Look(next_after=page.next_after)
    read_bytes = 0
    for place, info in enumerate(page.objects):
        entry = circumstances.known.get(info.key, NEW)
        if entry.settles(info):
            look.looked_at += 1
            continue
        if entry.knows_by_tag(info):
            look.looked_at += 1
            look.notes.append(Note(info, "submitted", version=info.version))
            continue
        if info.settled_seconds < settings.inbox.settle_seconds or entry.delays(info):
            look.looked_at += 1
            look.waiting += 1
            look.again.append(info.key)
            continue
        if info.version is None and read_bytes and read_bytes + info.size_bytes > MOST_READ_BYTES:
            if look.next_after is not None or place:
                look.next_after = page.objects[place - 1].key
            look.again += [later.key for later in page.objects[place:]]
            break
        look.looked_at += 1
        read_bytes += _look_at(look, store, info, entry, circumstances, settings)
    return look


def _look_at(
    look: _Look,
    store: ObjectStore,
    info: ObjectInfo,
    entry: Entry,
    circumstances: _Circumstances,
    settings: Settings,
) -> int:
    """One object: found, or something to say of it. Returns the bytes read. Raises what ends a page, and no more."""
    try:
        workspace_id, recipe_name = _place(info.key, circumstances.workspaces)
        if info.size_bytes > settings.limits.max_bytes:
            raise recording_too_large(display_name(info.key), info.size_bytes, settings)
        if recipe_name in circumstances.unserved:
            # Before it is read: it may wait for days, and a sweep comes by every few seconds.
            look.waiting += 1
            look.notes.append(Note(info, "waiting", reason=circumstances.unserved[recipe_name]))
            return 0
        space = circumstances.workspaces[workspace_id]
        if info.size_bytes > space.room_bytes - look.found_bytes[workspace_id]:
            look.waiting += 1
            look.notes.append(Note(info, "waiting", reason=full(space, info.size_bytes, settings).message))
            return 0
        version = info.version if info.version is not None else _read_version(store, info)
        look.found_bytes[workspace_id] += info.size_bytes
        look.found.append(Found(info, workspace_id, recipe_name, version))
    except NotFound:
        # Gone between listing and reading: there is nothing to take, and nothing to say to anyone.
        return 0
    except _StillWritten:
        look.waiting += 1
        look.again.append(info.key)
    except CustomerError as error:
        # Looked at anew with each sweep, since its workspace may be made, or the limit raised, later; said once.
        look.notes.append(Note(info, "rejected", reason=error.message))
        return 0
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever one object does to us, the others go on
        store.ready()  # raises where it is the store that is away, and not this object alone
        look.waiting += 1
        look.notes.append(failed(info, entry, error))
    return info.size_bytes


def failed(info: ObjectInfo, entry: Entry, error: Exception) -> Note:
    """The note of an object that could not be taken by no fault of its own. Logged when it is new, without its name."""
    if not entry.says(info, "failed"):
        where = traceback.extract_tb(error.__traceback__)[-1:]
        log.error(
            "an object of the inbox could not be taken",
            key_sha256=hashlib.sha256(info.key.encode()).hexdigest()[:16],
            error=type(error).__name__,
            at=f"{where[0].filename.rpartition('/')[2]}:{where[0].lineno}" if where else None,
        )
    return Note(info, "failed", reason=_FAILED)


def _read_version(store: ObjectStore, info: ObjectInfo) -> str:
    """The version of exactly what was listed. Raises _StillWritten when it was written meanwhile."""
    version = store.version(info.key)
    if store.stat(info.key).signature != info.signature:
        raise _StillWritten
    return version


def _place(key: str, workspaces: Container[str]) -> tuple[str, str]:
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
