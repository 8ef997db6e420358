"""What changed below a folder, by the file system's events, instead of reading the folder over and over.

Events may be lost (a full queue, a folder that is made and filled at once, a network file system): who watches also
reads the whole folder now and then. Nothing is read here, and nothing is said of whether a file is complete.
"""

from collections.abc import Generator
from pathlib import Path

from watchfiles import watch
from watchfiles.main import FileChange

from audiomill.storage.local_listing import is_hidden

LOOK_MS = 500
"""How long one look waits for events at most: so often it can be ended."""

STEP_MS = 250
"""Within it, how often the events that came are looked at. Each look wakes the process."""


class FolderWatch:
    """Events of one folder and all below it, kept from one look to the next. One thread at a time."""

    def __init__(self, root: Path) -> None:
        """Begins to watch. Raises OSError when the folder is absent or the system has no watches left."""
        self.root = root
        self._inode = root.stat().st_ino
        self._events: Generator[set[FileChange], None, None] = watch(
            root,
            watch_filter=None,
            debounce=LOOK_MS,
            step=STEP_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            # What others may not read is left out, not a reason to hear of nothing.
            ignore_permission_denied=True,
        )
        # The watch is set up at the first look.
        self._seen = next(self._events)

    def stands(self) -> bool:
        """Whether it still is the folder at that path: one that was removed and made again sends nothing."""
        try:
            return self.root.stat().st_ino == self._inode
        except OSError:
            return False

    def changed(self) -> set[str]:
        """Paths below the root, with `/`, that changed since the last look; waits half a second for some.

        A folder's ends with `/`: what lies in it may be new altogether. What is gone, hidden or no text is left out.
        """
        changes, self._seen = self._seen, set()
        changes |= next(self._events, set())
        return {name for _, path in changes if (name := self._name(Path(path))) is not None}

    def close(self) -> None:
        """End the watch."""
        self._events.close()

    def _name(self, path: Path) -> str | None:
        try:
            parts = path.relative_to(self.root).parts
            name = "/".join(parts)
            name.encode()
            if any(is_hidden(part) for part in parts) or path.is_symlink():
                return None
            if path.is_dir():
                return f"{name}/" if parts else ""
            return name if path.is_file() else None
        except (ValueError, OSError):  # not below the root, not UTF-8, too long, of another user
            return None
