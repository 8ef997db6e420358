"""Listing a directory tree in the order of keys, page by page. Reads directories only; no bytes, no writing.

Key order is the byte order of the UTF-8 key, as in S3. That is not the order of paths: `a-` < `a/b` < `a0`, because
`-` < `/` < `0`. Sorting a directory's entries with `/` added to the names of directories gives it: all keys of the
directory `a` begin with `a/`, no other entry does, so its keys are one block at the place of `a/`.

A page opens the directories between its first and its last key, no others. One directory is read whole each time,
so a page costs what its directories hold (about 1 µs an entry), not what the tree holds.
"""

import os
import stat
from collections.abc import Iterator

import structlog

log = structlog.get_logger(__name__)

UNFINISHED = (".part", ".tmp", ".crdownload")
"""Endings of files that a browser or a copying program is still writing."""


def is_hidden(name: str) -> bool:
    """Whether a name is never an object: our own temporary files, dotfiles, downloads in progress."""
    return name.startswith(".") or name.lower().endswith(UNFINISHED)


def walk(root: str, prefix: str, after: str | None) -> Iterator[tuple[str, os.stat_result]]:
    """Keys and stats of plain files under `root` with that prefix and greater than `after`, in key order.

    Symbolic links, devices and pipes are not objects. What vanishes meanwhile is left out.
    """
    folder, base = root, ""
    for name in prefix.split("/")[:-1]:
        folder, base = os.path.join(folder, name), f"{base}{name}/"  # noqa: PTH118 - text paths, thousands per page
        if name == "" or is_hidden(name) or not _is_folder(folder):
            return
    yield from _walk(folder, base, _bytes(prefix), _bytes(after) if after is not None else b"")


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):  # absent, too long, a zero character, not UTF-8: no key begins like that
        return False


def _bytes(key: str) -> bytes:
    # A lone surrogate cannot be in a stored key; in a bound it must still have a place in the order.
    return key.encode("utf-8", "surrogatepass")


def _walk(folder: str, base: str, prefix: bytes, after: bytes) -> Iterator[tuple[str, os.stat_result]]:
    for token, entry in _entries(folder, base):
        if entry.is_dir(follow_symlinks=False):
            wanted = token.startswith(prefix) or prefix.startswith(token)
            passed = after > token and not after.startswith(token)
            if wanted and not passed:
                yield from _walk(entry.path, base + entry.name + "/", prefix, after)
        elif token > after and token.startswith(prefix):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted since the directory was read
            if stat.S_ISREG(status.st_mode):
                yield base + entry.name, status


def _entries(folder: str, base: str) -> list[tuple[bytes, os.DirEntry[str]]]:
    entries = []
    try:
        with os.scandir(folder) as scan:
            for entry in scan:
                if is_hidden(entry.name):
                    continue
                try:
                    token = (base + entry.name).encode()
                except UnicodeEncodeError:
                    # A key is text: such a name cannot be stored, shown or fetched. The folder is logged, not the name.
                    log.warning("file name is not UTF-8, left out", folder=base)
                    continue
                entries.append((token + b"/" if entry.is_dir(follow_symlinks=False) else token, entry))
    except (FileNotFoundError, NotADirectoryError):
        return []  # nothing has that prefix, or the directory went
    entries.sort(key=lambda pair: pair[0])
    return entries
