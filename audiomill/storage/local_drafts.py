"""Finding what a put that crashed left half written, folder by folder. What is being written now looks the same.

A walk goes on after a folder, so that a piece of it is bounded by the folders' entries, not by the tree.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from audiomill.storage.store import Draft, DraftPage

_DRAFT = re.compile(r"\.[0-9a-f]{24}\.tmp|\.ready-\d+-\d+\.tmp")
"""Names that local_files.replacing and LocalStore.ready give."""
ENTRIES_A_DRAFT = 50
"""Entries of folders looked at for each draft that may be found."""


def drafts_below(root: str, *, after: str | None, limit: int) -> DraftPage:
    """Drafts in the folders after one, until `limit` are found or enough was looked at. Raises OSError."""
    drafts: list[Draft] = []
    looked_at = 0
    begin = tuple(after.split("/")) if after is not None else None
    for folder in _folders(root, (), begin):
        with _entries(root, folder) as scan:
            for entry in scan:
                looked_at += 1
                if _DRAFT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    name = "/".join((*folder, entry.name))
                    drafts.append(Draft(name, status.st_size, max(0.0, time.time() - status.st_mtime)))
        if len(drafts) >= limit or looked_at >= limit * ENTRIES_A_DRAFT:
            return DraftPage(tuple(drafts), "/".join(folder))
    return DraftPage(tuple(drafts), None)


def _folders(root: str, folder: tuple[str, ...], after: tuple[str, ...] | None) -> Iterator[tuple[str, ...]]:
    """Folders in the order of their parts, each before those in it, greater than `after`."""
    if after is None or folder > (after if after != ("",) else ()):
        yield folder
    try:
        with _entries(root, folder) as scan:
            names = sorted(entry.name for entry in scan if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return  # gone meanwhile
    for name in names:
        child = (*folder, name)
        if after is None or child >= after[: len(child)]:
            yield from _folders(root, child, after)


@contextmanager
def _entries(root: str, folder: tuple[str, ...]) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of a folder; none of one that is closed to us, such as a customer's below the inbox."""
    try:
        scan = os.scandir(os.path.join(root, *folder))  # noqa: PTH118 - text paths, thousands of them
    except PermissionError:
        if not folder:
            raise
        yield iter(())
        return
    with scan:
        yield scan
