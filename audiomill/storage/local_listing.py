"""Walking a directory tree in the order of keys, a page at a time. Reads directories and times only; no bytes.

Key order is the byte order of the UTF-8 key, as in S3. That is not the order of paths: `a-` < `a/b` < `a0`, because
`-` < `/` < `0`. Sorting a directory's entries with `/` added to the names of directories gives it: all keys of the
directory `a` begin with `a/`, no other entry does, so its keys are one block at the place of `a/`.

What cannot be walked (a folder that may not be read, a name that is no text, a loop) is left out and told; it never
ends the walk. A walk stands still between two pages (`Walks`), so that paging through a tree reads each directory
once. It holds at most `MOST_NAMES` names of one directory, and reads a larger one again for each so many.
"""

import errno
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from audiomill.storage.store import LeftOut

UNFINISHED = (".part", ".tmp", ".crdownload")
"""Endings of files that a browser or a copying program is still writing."""

MOST_NAMES = 100_000
"""Of one directory held at a time, some 10 MB."""
MOST_TOLD = 100
"""What one page tells of what it left out; the rest is told when these are mended."""
MAX_KEY_BYTES = 1024
"""S3's limit (Amazon S3 user guide, object key names); the same here, so that a store can be exchanged."""
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What a process may run out of: no fault of the file that it was about to open."""
_GONE = (FileNotFoundError, NotADirectoryError)


def is_hidden(name: str) -> bool:
    """Whether a name is never an object: our own temporary files, dotfiles, downloads in progress."""
    return name.startswith(".") or name.lower().endswith(UNFINISHED)


@dataclass
class _Folder:
    """A directory that the walk is in. `names` are those still to come, last first; `/` ends those of directories."""

    path: str
    base: str
    identity: tuple[int, int]
    prefix: bytes
    after: bytes
    names: list[bytes] = field(default_factory=list)
    beyond: bytes | None = None  # the last name held, where the directory has more


class Walk:
    """Plain files under `root` whose keys have the prefix and are greater than `after`, in key order.

    Symbolic links, devices and pipes are not objects. What vanishes meanwhile is left out; what comes into a
    directory after it was read is for the next walk. Raises OSError when the first directory cannot be read.
    """

    def __init__(self, root: str, prefix: str, after: str | None) -> None:
        self._left_out: list[LeftOut] = []
        self._ahead: tuple[str, str] | None = None
        self._folders: list[_Folder] = []
        self._found: Iterator[tuple[str, str, os.stat_result]] = iter(())
        path, base = root, ""
        for name in prefix.split("/")[:-1]:
            path, base = os.path.join(path, name), f"{base}{name}/"  # noqa: PTH118 - text paths, thousands per page
            if name == "" or is_hidden(name) or not _is_folder(path):
                return
        self._found = self._files()
        least, place = b"" if after is None else _bytes(after), base.encode()
        if least > place and not least.startswith(place):
            return
        try:
            self._enter(path, base, _below(_bytes(prefix), place), _below(least, place))
        except _GONE:
            return

    def take(self, limit: int) -> tuple[list[tuple[str, os.stat_result]], bool]:
        """The next files, and whether there are more."""
        taken: list[tuple[str, os.stat_result]] = []
        if self._ahead is not None:
            # It was seen when the page before ended, and may have changed since.
            key, path = self._ahead
            self._ahead = None
            status = self._status(key, path)
            if status is not None:
                taken.append((key, status))
        for key, path, status in self._found:
            if len(taken) == limit:
                self._ahead = (key, path)
                return taken, True
            taken.append((key, status))
        return taken, False

    def told(self) -> tuple[LeftOut, ...]:
        """What was left out since this was asked last."""
        told, self._left_out = tuple(self._left_out), []
        return told

    def _files(self) -> Iterator[tuple[str, str, os.stat_result]]:
        while self._folders:
            folder = self._folders[-1]
            if not folder.names and (folder.beyond is None or not self._read(folder)):
                self._folders.pop()
                continue
            name = folder.names.pop()
            text = name.decode()
            key, path = folder.base + text, f"{folder.path}/{text}"
            if name.endswith(b"/"):
                self._descend(path[:-1], key, folder)
                continue
            status = self._status(key, path)
            if status is not None:
                yield key, path, status

    def _descend(self, path: str, base: str, parent: _Folder) -> None:
        if len(base.encode()) >= MAX_KEY_BYTES:
            self._tell(base, f"its path has more than {MAX_KEY_BYTES:,} bytes. Move it up, or shorten the names")
            return
        name = base[len(parent.base) :].encode()
        try:
            self._enter(path, base, _below(parent.prefix, name), _below(parent.after, name))
        except _GONE:
            pass
        except OSError as error:
            self._tell_error(base, "folder", error)

    def _enter(self, path: str, base: str, prefix: bytes, after: bytes) -> None:
        """Go into a directory. The bounds are what is left of them below `base`. Raises OSError."""
        status = os.lstat(path)
        identity = (status.st_dev, status.st_ino)
        if any(above.identity == identity for above in self._folders):
            self._tell(base, "it leads back to a folder above it. Take the loop out")
            return
        folder = _Folder(path, base, identity, prefix, after)
        self._read(folder)
        self._folders.append(folder)

    def _read(self, folder: _Folder) -> bool:
        """Read names, the least ones beyond what was had; whether there are any. Raises OSError the first time."""
        beyond, again = folder.beyond, folder.beyond is not None
        folder.beyond, folder.names = None, []
        held: list[bytes] = []
        try:
            with os.scandir(folder.path) as scan:
                for entry in scan:
                    if is_hidden(entry.name):
                        continue
                    name = self._name(folder, entry)
                    if name is None or (beyond is not None and name <= beyond) or not _within(folder, name):
                        continue
                    held.append(name)
                    if len(held) >= 2 * MOST_NAMES:
                        held.sort()
                        del held[MOST_NAMES:]
                        folder.beyond = held[-1]
        except OSError as error:
            if not again:
                raise
            if not isinstance(error, _GONE):
                self._tell_error(folder.base, "folder", error)
            return False
        held.sort()
        if folder.beyond is not None:
            del held[MOST_NAMES:]
            folder.beyond = held[-1]
        held.reverse()
        folder.names = held
        return bool(held)

    def _name(self, folder: _Folder, entry: os.DirEntry[str]) -> bytes | None:
        try:
            return entry.name.encode() + (b"/" if entry.is_dir(follow_symlinks=False) else b"")
        except UnicodeEncodeError:
            shown = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            self._tell(folder.base + shown, "its name is not UTF-8 text. Rename it")
        except OSError as error:
            self._tell_error(folder.base + entry.name, "file", error)
        return None

    def _status(self, key: str, path: str) -> os.stat_result | None:
        try:
            status = os.lstat(path)
        except _GONE:
            return None  # deleted since the directory was read
        except OSError as error:
            self._tell_error(key, "file", error)
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _tell_error(self, name: str, what: str, error: OSError) -> None:
        if error.errno in EXHAUSTED:
            raise error
        self._tell(name, f"the {what} cannot be read ({error.strerror}). Let audiomill's user read it, or take it out")

    def _tell(self, name: str, why: str) -> None:
        if len(self._left_out) < MOST_TOLD:
            self._left_out.append(LeftOut(name, f"It cannot be taken: {why}."))


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):  # absent, too long, a zero character, not UTF-8: no key begins like that
        return False


def _bytes(key: str) -> bytes:
    # A lone surrogate cannot be in a stored key; in a bound it must still have a place in the order.
    return key.encode("utf-8", "surrogatepass")


def _below(bound: bytes, name: bytes) -> bytes:
    """What is left of a bound in the directory `name`: all of that directory is within one that ends above it."""
    return bound[len(name) :] if bound.startswith(name) else b""


def _within(folder: _Folder, name: bytes) -> bool:
    prefix, after = folder.prefix, folder.after
    if name.endswith(b"/"):
        return (name.startswith(prefix) or prefix.startswith(name)) and (after <= name or after.startswith(name))
    return name > after and name.startswith(prefix)


class Walks:
    """Walks that stand still between two pages. The few newest are kept, and none for long."""

    MOST = 4
    SECONDS = 600.0

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[float, Walk]] = OrderedDict()
        self._lock = threading.Lock()

    def resume(self, root: str, prefix: str, after: str | None) -> Walk:
        """The walk that stands at `after`, taken out; or a new one."""
        with self._lock:
            for place in [place for place, (at, _) in self._kept.items() if time.monotonic() - at > self.SECONDS]:
                del self._kept[place]
            kept = self._kept.pop((prefix, after), None) if after is not None else None
        return Walk(root, prefix, after) if kept is None else kept[1]

    def keep(self, prefix: str, after: str, walk: Walk) -> None:
        """Let a walk stand at `after`."""
        with self._lock:
            self._kept[prefix, after] = (time.monotonic(), walk)
            while len(self._kept) > self.MOST:
                self._kept.popitem(last=False)
