"""What all looking at a page of the inbox shares: what was found and said so far, its bounds, and what becomes of an
object that raises. Which objects are looked at, and for what, is looking.py's and by_manifest.py's.
"""

import hashlib
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from audiomill.accounts.space import full
from audiomill.errors import CustomerError, DatabaseUnavailable, EngineUnavailable, NotFound, QuotaExceeded
from audiomill.inbox.bundles import Bundles, StillWritten
from audiomill.inbox.circumstances import Circumstances
from audiomill.inbox.entries import NEW, Entry, Note
from audiomill.inbox.orders import Found, Present
from audiomill.jobs.inputs import display_name
from audiomill.jobs.submission import recording_too_large
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, ObjectStore

log = structlog.get_logger(__name__)

MOST_READ_BYTES = 2 * 1024**3
"""Files read in one page: SHA-256 takes some 3 s for so many, a slow disk 20 s, and a sensor's tick may last 60."""

_FAILED = "audiomill could not take it. That is no fault of the file, and it is tried again every minute."


class Enough(Exception):
    """What comes next is too much to read within this page."""


@dataclass
class Look:
    """A page looked at: what is in its place, what is to be said of the rest, and where what was not come to begins."""

    next_after: str | None
    looked_at: int = 0
    waiting: int = 0
    found: list[Found] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    found_bytes: Counter[str] = field(default_factory=Counter)  # by workspace
    read_bytes: int = 0


class Desk:
    """Where one page is looked at."""

    def __init__(
        self,
        store: ObjectStore,
        bundles: Bundles,
        circumstances: Circumstances,
        settings: Settings,
        *,
        next_after: str | None,
    ) -> None:
        self.bundles, self.circumstances, self.settings = bundles, circumstances, settings
        self.look = Look(next_after=next_after)
        self._store = store

    def entry(self, key: str) -> Entry:
        """What was noted of it before this page."""
        return self.circumstances.known.get(key, NEW)

    def lies_still(self, info: ObjectInfo) -> bool:
        """Whether nobody seems to be writing it."""
        return info.settled_seconds >= self.settings.inbox.settle_seconds

    def look_again(self, info: ObjectInfo) -> None:
        """It waits, for moments."""
        self.look.waiting += 1
        self.look.again.append(info.key)

    def wait(self, info: ObjectInfo, reason: str, *, named_by: str | None = None) -> None:
        """It waits for what the reason says."""
        self.look.waiting += 1
        self.look.notes.append(Note(info, "waiting", reason=reason, named_by=named_by))

    def take(self, found: Found, size_bytes: int) -> None:
        """It is in its place and can be ordered."""
        self.look.found_bytes[found.workspace_id] += size_bytes
        self.look.found.append(found)

    def guarded(self, info: ObjectInfo, looking: Callable[[], None]) -> None:
        """Whatever one object does to us is said of it, and the others go on."""
        try:
            looking()
        except NotFound:
            # Gone between listing and reading: there is nothing to take, and nothing to say to anyone.
            return
        except StillWritten:
            self.look_again(info)
        except (EngineUnavailable, QuotaExceeded) as error:
            self.wait(info, error.message)
        except CustomerError as error:
            # Looked at anew with each sweep, since its workspace may be made, or the limit raised, later; said once.
            self.look.notes.append(Note(info, "rejected", reason=error.message))
        except (Enough, DatabaseUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one object does to us, the others go on
            self._store.ready()  # raises where it is the store that is away, and not this object alone
            self.look.waiting += 1
            self.look.notes.append(failed(info, self.entry(info.key), error))

    def present(self, members: Sequence[tuple[str | None, ObjectInfo]]) -> list[Present]:
        """Their versions; what must be read for it is. Raises Enough, StillWritten."""
        to_read = sum(info.size_bytes for _, info in members if not self.bundles.is_read(info))
        if to_read and self.look.read_bytes and self.look.read_bytes + to_read > MOST_READ_BYTES:
            raise Enough
        self.look.read_bytes += to_read
        return [Present(info, self.bundles.version(info), role) for role, info in members]

    def refuse_too_large(self, info: ObjectInfo) -> None:
        """Raises LimitExceeded."""
        if info.size_bytes > self.settings.limits.max_bytes:
            raise recording_too_large(display_name(info.key), info.size_bytes, self.settings)

    def refuse_without_room(self, workspace_id: str, size_bytes: int) -> None:
        """Raises QuotaExceeded, of what was found on this page, too."""
        space = self.circumstances.workspaces[workspace_id]
        if size_bytes > space.room_bytes - self.look.found_bytes[workspace_id]:
            raise full(space, size_bytes, self.settings)


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
