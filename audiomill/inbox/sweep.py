"""The inbox: what lies under `inbox/<workspace>/<recipe>/…` becomes jobs, each writing of it once, none unsaid.

The store is swept page by page, over and over: a cursor that only moved forward would miss every object whose key
sorts before it. What became of an object is kept in `inbox_entries` (entries.py), so that a sweep of known
objects costs one listing and one query a page. What a page comes to is found in looking.py, and ordered in orders.py.

**Nothing that one object is or does may end its page**: it is rejected with a sentence, or waits for an engine or
for room, or has failed by no fault of its own, which is logged once and tried again. Only the store's or the database's
absence ends a page, and the next tick takes it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from audiomill.database.connection import Database
from audiomill.errors import CustomerError
from audiomill.inbox.bundles import Bundles
from audiomill.inbox.circumstances import circumstances_of
from audiomill.inbox.desk import failed
from audiomill.inbox.entries import NEW, Entry, Note, known_entries, storable, write_left_out, write_notes
from audiomill.inbox.looking import look_at
from audiomill.inbox.manifests import is_manifest
from audiomill.inbox.orders import order_found
from audiomill.settings import Settings
from audiomill.storage import LeftOut, ObjectInfo, ObjectStore, Page
from audiomill.storage.keys import INBOX

_LOCK = 7_236_120_003


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


def take_page(database: Database, store: ObjectStore, *, after: str | None, settings: Settings) -> InboxTally:
    """Take one page of the inbox. Safe with several takers: while one submits, another takes nothing.

    Files are read (a local store must, to know their version) between two transactions, so that nothing is locked
    meanwhile; and no more than `desk.MOST_READ_BYTES` of them, or one order: what is left of the page is the next.
    Raises StorageUnavailable, DatabaseUnavailable.
    """
    page = store.list_page(INBOX, after=after, limit=settings.inbox.page_size)
    return _take(database, store, page, settings, stay=after, listed=True)


def take_keys(database: Database, store: ObjectStore, *, keys: Sequence[str], settings: Settings) -> InboxTally:
    """The same for keys that something happened to (an event of the file system), without listing. At most a page."""
    objects: list[ObjectInfo] = []
    keys = list(dict.fromkeys(keys))
    for key in keys[: settings.inbox.page_size]:
        try:
            objects.append(store.stat(key))
        except CustomerError:
            continue  # gone, a folder, or not to be read: the sweep says what is to be said
    tally = _take(database, store, Page(tuple(objects), None), settings, stay=None, listed=False)
    return InboxTally(
        tally.looked_at,
        tally.submitted,
        tally.rejected,
        tally.waiting,
        None,
        (*tally.again, *keys[settings.inbox.page_size :]),
    )


def _take(
    database: Database, store: ObjectStore, page: Page, settings: Settings, *, stay: str | None, listed: bool
) -> InboxTally:
    page = _of_storable_keys(page)
    with database.session() as session:
        circumstances = circumstances_of(session, page.objects, settings)
        rejected = write_left_out(session, page.left_out)
    bundles = Bundles(store, page, circumstances.known, after=stay, listed=listed)
    look = look_at(store, page, bundles, circumstances, settings)
    submitted = 0
    if look.found or look.notes:
        with database.session() as session:
            if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
                return InboxTally(0, 0, rejected, 0, stay, tuple(info.key for info in page.objects))
            # Another taker may have been through this page since we looked.
            keys = [each.info.key for found in look.found for each in (*found.led_by, *found.others)]
            current = known_entries(session, [*keys, *(note.info.key for note in look.notes)])
            overtaken = {
                note.info.key for note in look.notes if current.get(note.info.key, NEW).says(note.info, "submitted")
            }
            said = [
                note
                for note in look.notes
                # What a manifest was waiting for is of no matter when another taker has ordered it.
                if note.named_by not in overtaken and not _is_said(current.get(note.info.key, NEW), note)
            ]
            found = [each for each in look.found if not each.is_settled(current)]
            ordered = order_found(session, found, current, settings, failed=failed)
            write_notes(session, [*said, *ordered])
        submitted = sum(note.outcome == "submitted" and note.reason is None for note in ordered)
        rejected += sum(
            note.outcome == "rejected" and not current.get(note.info.key, NEW).says(note.info, "rejected")
            for note in [*said, *ordered]
        )
        look.waiting += sum(note.outcome in {"waiting", "failed"} for note in ordered)
    return InboxTally(look.looked_at, submitted, rejected, look.waiting, look.next_after, tuple(look.again))


def _is_said(entry: Entry, note: Note) -> bool:
    # A failure, and what is said of a manifest, is said anew each time: its age is what delays the next attempt.
    anew = note.outcome == "failed" or is_manifest(note.info.key)
    return entry.settles(note.info) or (not anew and entry.says(note.info, note.outcome))


def _of_storable_keys(page: Page) -> Page:
    """The page without keys that the database cannot hold (S3 takes U+0000 in a key): these are left out and said."""
    odd = [info for info in page.objects if storable(info.key) != info.key]
    if not odd:
        return page
    told = [LeftOut(info.key, "It cannot be taken: its name has a zero character. Rename it.") for info in odd]
    objects = tuple(info for info in page.objects if storable(info.key) == info.key)
    return Page(objects, page.next_after, (*page.left_out, *told))
