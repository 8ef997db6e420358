"""Opening and replacing files below a root, safely: no way out, nothing half written. Knows paths, not objects.

Every segment is opened relative to its parent with O_NOFOLLOW, so a symbolic link anywhere below the root is refused
at the moment of use; checking a path first and opening it later would leave a gap between the two.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from audiomill.errors import BadRequest
from audiomill.storage.local_listing import MAX_KEY_BYTES, is_hidden

MAX_SEGMENT_BYTES = 255
"""NAME_MAX of the usual file systems."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def segments(key: str) -> list[str]:
    """The names on the way to a key. Raises BadRequest (`bad_key`) for what cannot be a file below the root."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise _bad_key(key, "it is not valid Unicode text") from None
    if size > MAX_KEY_BYTES:
        raise _bad_key(key, f"it has {size} bytes, and {MAX_KEY_BYTES} are allowed")
    names = key.split("/")
    for name in names:
        if name in {"", ".", ".."}:
            raise _bad_key(key, "it has an empty part, `.` or `..` between slashes")
        if "\0" in name:
            raise _bad_key(key, "it has a zero character")
        if len(name.encode()) > MAX_SEGMENT_BYTES:
            raise _bad_key(key, f"a part between slashes is longer than {MAX_SEGMENT_BYTES} bytes")
    return names


def writable_segments(key: str) -> list[str]:
    """As `segments`, without names that listing leaves out: what is put must be found."""
    names = segments(key)
    if any(is_hidden(name) for name in names):
        raise _bad_key(key, "a part begins with a dot or ends like an unfinished download")
    return names


def _bad_key(key: str, why: str) -> BadRequest:
    shown = key if len(key) <= 80 else key[:77] + "…"  # noqa: PLR2004 - enough to recognise it by
    return BadRequest(f"The object name {shown!r} cannot be used: {why}. Rename the file.", code="bad_key")


def clashes(key: str) -> BadRequest:
    """The error for a key whose path is taken by a folder, or leads through a file."""
    return _bad_key(key, "a folder has that name, or a file has the name of one of its folders")


def open_file(root: str, names: list[str]) -> int:
    """Descriptor of a plain file, for reading. Raises OSError; FileNotFoundError for what is not a plain file."""
    with _folder(root, names[:-1], make=False) as folder:
        # O_NONBLOCK: a pipe in the inbox must not hold us up until somebody writes to it.
        descriptor = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError("not a plain file")
    return descriptor


def remove(root: str, names: list[str]) -> None:
    """Remove a file. Raises OSError. Its folders stay: they may be somebody's drop folders."""
    with _folder(root, names[:-1], make=False) as folder:
        os.unlink(names[-1], dir_fd=folder)


@contextmanager
def replacing(root: str, names: list[str]) -> Iterator[BinaryIO]:
    """A file to write that takes its name, whole, when the block ends well, and vanishes when it does not.

    It is written beside its destination (the same file system, also where a folder is a mount) and renamed.
    Its bytes reach the disk before the name does, and the name before we return: the database row that follows
    is durable, and must not outlive what it points to. Costs two fsyncs (0.7 ms together on a virtual disk).
    """
    draft = f".{secrets.token_hex(12)}.tmp"
    with _folder(root, names[:-1], make=True) as folder:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, names[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(draft, dir_fd=folder)
            raise
        os.fsync(folder)


@contextmanager
def _folder(root: str, names: list[str], *, make: bool) -> Iterator[int]:
    # The root itself may be a link: it is the operator's choice.
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            try:
                child = os.open(name, _FOLDER, dir_fd=descriptor)
            except FileNotFoundError:
                if not make:
                    raise
                child = _made(name, descriptor)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _made(name: str, parent: int) -> int:
    try:
        os.mkdir(name, dir_fd=parent)
        os.fsync(parent)
    except FileExistsError:
        pass  # another writer was first
    return os.open(name, _FOLDER, dir_fd=parent)
