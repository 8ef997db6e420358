"""Where sound and texts lie while they are worked on: a folder per run under the data directory, and nowhere else.

A folder is locked by the process that made it for as long as that lives, however it ends; what nobody holds is what a
killed run has left, and is swept. Only files of the work in hand belong here: nothing in it is ever asked for again.
"""

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import structlog

from audiomill.errors import StorageUnavailable

SCRATCH_UNAVAILABLE = "scratch_unavailable"
"""The code of StorageUnavailable where it is this machine's disk, not the store: never about one item alone."""

log = structlog.get_logger(__name__)


class _Current:
    """The folders that this process works in, the newest last."""

    lock = threading.Lock()
    folders: list[Path] = []  # noqa: RUF012 - the one list of this process


def scratch_root(data_dir: Path) -> Path:
    """The folder of all runs' folders."""
    return data_dir / "scratch"


@contextmanager
def run_scratch(data_dir: Path, run_id: str) -> Iterator[Path]:
    """A run's own folder, mode 0700, removed at the end. Nameless files of this process go there meanwhile.

    Raises StorageUnavailable when it cannot be made.
    """
    folder, lock = _made(scratch_root(data_dir), run_id)
    with _Current.lock:
        _Current.folders.append(folder)
    try:
        yield folder
    finally:
        with _Current.lock:
            _Current.folders.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def nameless_file() -> BinaryIO:
    """A file of the running work that has no name and is gone when it is closed and unmapped, or its process dead."""
    with _Current.lock:
        folder = _Current.folders[-1] if _Current.folders else None
    return cast("BinaryIO", tempfile.TemporaryFile(prefix="audiomill-", dir=folder))


def check_room(folder: Path, size_bytes: int) -> None:
    """Raises OSError where so much cannot be written. It is asked for, not looked up: a quota is no free space.

    Nor is one small file proof: a disk that is full still takes some bytes.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size_bytes)


def sweep(data_dir: Path) -> int:
    """Remove the folders that no living process holds; returns how many."""
    root = scratch_root(data_dir)
    swept = 0
    for entry in sorted(root.iterdir()) if root.is_dir() else ():
        if not entry.is_dir() or entry.is_symlink():
            continue
        try:
            lock = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # just removed by its owner
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its owner lives
        else:
            shutil.rmtree(entry, ignore_errors=True)
            swept += 1
        finally:
            os.close(lock)
    if swept:
        log.info("left-over scratch folders swept", folders=swept)
    return swept


def _made(root: Path, run_id: str) -> tuple[Path, int]:
    """A new folder and the lock on it."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = Path(tempfile.mkdtemp(prefix=f"{run_id}-", dir=root))  # one run may open several, one by one
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)  # swept in the moment before it was locked
    except OSError as error:
        raise StorageUnavailable(
            f"No scratch folder could be made below the data directory: {error.strerror}.", code=SCRATCH_UNAVAILABLE
        ) from error
