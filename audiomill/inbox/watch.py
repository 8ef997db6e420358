"""The local inbox between two sweeps: what was dropped is heard of, waited for until it lies still, and taken.

What becomes of an object is `sweep.py`'s; this says only where to look. A whole sweep goes on at intervals, because
events may be lost, and because what was refused may be right later (its workspace was made, an engine came).
"""

import time
from collections.abc import Callable, Iterable

import structlog

from audiomill.settings import Settings
from audiomill.storage.factory import local_root
from audiomill.storage.keys import INBOX
from audiomill.storage.watching import FolderWatch

log = structlog.get_logger(__name__)

STILL_MARGIN_SECONDS = 0.1
"""Beyond `settle_seconds`: the event comes a moment before the time that the file bears."""


class InboxWatch:
    """Keys of the local inbox that changed. One thread at a time."""

    def __init__(self, settings: Settings) -> None:
        """Begins to listen. Raises OSError where the folder cannot be watched."""
        self._settings = settings
        root = local_root(settings).resolve() / INBOX.rstrip("/")
        root.mkdir(parents=True, exist_ok=True)
        self._folder = FolderWatch(root)
        self._changed: dict[str, float] = {}
        self._swept: float | None = None

    def stands(self) -> bool:
        """Whether events of the inbox still reach it."""
        return self._folder.stands()

    def sweep_due(self) -> bool:
        """Whether it is time to look at everything."""
        return self._swept is None or time.monotonic() - self._swept >= self._settings.inbox.sweep_seconds

    def swept(self) -> None:
        """Everything was looked at."""
        self._swept = time.monotonic()

    def still(self, seconds: float, stopped: Callable[[], bool]) -> list[str]:
        """Keys whose file changed and then lay still for `settle_seconds`, in order; waits for some.

        Empty when there was none within that time, or when `stopped()`. A folder's key ends with `/`.
        """
        deadline = time.monotonic() + seconds
        settle_seconds = self._settings.inbox.settle_seconds + STILL_MARGIN_SECONDS
        while True:
            changed = self._folder.changed()
            now = time.monotonic()
            self._changed.update((INBOX + name, now) for name in changed)
            due = sorted(key for key, at in self._changed.items() if now - at >= settle_seconds)
            for key in due:
                del self._changed[key]
            if due or now >= deadline or stopped():
                return due

    def again(self, keys: Iterable[str]) -> None:
        """Not all of them could be taken: they are named again when they lay still."""
        now = time.monotonic()
        for key in keys:
            self._changed.setdefault(key, now)

    def close(self) -> None:
        """Listen no more."""
        self._folder.close()


def watch_inbox(settings: Settings) -> InboxWatch | None:
    """A watch of the inbox; None where there is none: a bucket, a setting, a system without watches left."""
    if settings.storage.kind != "local" or not settings.inbox.watch or settings.dagster.tick_wait_seconds == 0:
        return None
    try:
        return InboxWatch(settings)
    except OSError as error:
        log.warning("inbox_not_watched", error=type(error).__name__, reason=error.strerror)
        return None
