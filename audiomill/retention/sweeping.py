"""What a sweep is: a bounded piece of work that begins where the last one ended, and tells what it freed."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from audiomill.database.connection import Database
from audiomill.errors import CustomerError, NotFound
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

DAY_SECONDS = 86_400
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Freed:
    """What went, or would go."""

    rows: int = 0
    objects: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Freed") -> "Freed":
        return Freed(self.rows + other.rows, self.objects + other.objects, self.size_bytes + other.size_bytes)


@dataclass(frozen=True)
class Ground:
    """Where is swept. `dry_run`: nothing is changed, what would go is counted."""

    database: Database
    store: ObjectStore
    settings: Settings
    dry_run: bool = False

    @property
    def limit(self) -> int:
        """Rows or objects that one piece looks at."""
        return self.settings.retention.rows_per_sweep

    def object_gone(self, key: str) -> Freed:
        """Delete an object; what it took. One that is gone already, or cannot be touched, counts nothing."""
        try:
            size_bytes = self.store.stat(key).size_bytes
            if not self.dry_run:
                self.store.delete(key)
        except NotFound:
            return Freed()
        except CustomerError as error:
            # Its place is not its fault's: the rest of the sweep goes on. The key may hold a customer's words.
            log.warning("an object cannot be deleted", code=error.code)
            return Freed()
        return Freed(objects=1, size_bytes=size_bytes)


Piece = Callable[[Ground, str | None], tuple[Freed, str | None]]
"""(ground, where the last piece ended) → what was freed, where this one ended.

None: it is through, and begins anew the next time. A sweep that only moves forward gives back where it stands.
"""


@dataclass(frozen=True)
class Sweep:
    """A kind of thing that is deleted some day. `name` is shown to operators, and names its place in `sweeps`."""

    name: str
    when: str
    piece: Piece
