"""The object store in a directory of this machine. Objects are plain files, keys are their paths below the root.

Files dropped by hand (`inbox/…`) are objects like any other. The API serves the signed URLs: see `open_token`.
"""

import errno
import hashlib
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from audiomill.errors import BadRequest, NotFound, StorageUnavailable
from audiomill.formats import media_type_of
from audiomill.scratch import check_room
from audiomill.storage import local_files
from audiomill.storage.grants import Grant, Grants
from audiomill.storage.local_drafts import drafts_below
from audiomill.storage.local_listing import EXHAUSTED, Walks
from audiomill.storage.receiving import Receiver
from audiomill.storage.store import Draft, DraftPage, ObjectInfo, Page, SignedUrl, object_changed

_CHUNK = 1024 * 1024

STORE_FULL = "store_full"
"""The code of StorageUnavailable where the store's disk, or its quota, takes no more."""

LEAST_ROOM_BYTES = 64 * 1024**2
"""A store with less is not ready: what is written next most likely does not fit."""


class LocalStore:
    """Implements ObjectStore. Safe for any number of processes on one machine.

    Beside the protocol's errors, every method that takes a key raises BadRequest (`bad_key`) for one that cannot be
    a file below the root. Unlike in S3, `a` and `a/b` cannot both be objects. Symbolic links below the root are
    never followed. Media types are not stored; a GET answers with the one of the key's ending.
    """

    def __init__(self, root: Path, *, secret: str, public_url: str) -> None:
        """`public_url`: of the API, which serves the signed URLs. The root is made when it is absent."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._root = str(root.resolve(strict=True))
        except OSError as error:
            raise StorageUnavailable(f"The store's directory {root} cannot be made: {error.strerror}.") from error
        self._walks = Walks()
        self._grants = Grants(secret)
        self._public_url = public_url.rstrip("/")

    @property
    def root(self) -> Path:
        """The directory, without symbolic links."""
        return Path(self._root)

    @contextmanager
    def writing(self, key: str) -> Iterator["ObjectWriter"]:
        """Stream an object in. It appears whole when the block ends well, not at all when it raises."""
        names = local_files.writable_segments(key)
        opened = local_files.replacing(self._root, names)
        # Only what the file system says is an error of the store: what the block raises is the caller's.
        with self._mapped(key, writing=True):
            file = opened.__enter__()
        try:
            yield ObjectWriter(self, key, file)
        except BaseException as error:
            if not opened.__exit__(type(error), error, error.__traceback__):
                raise
        else:
            with self._mapped(key, writing=True):
                opened.__exit__(None, None, None)

    def put_bytes(self, key: str, data: bytes, *, media_type: str = "application/octet-stream") -> None:  # noqa: ARG002 - the protocol's; not stored here
        """Write an object whole."""
        with self.writing(key) as file:
            file.write(data)

    def put_file(self, key: str, path: Path, *, media_type: str = "application/octet-stream") -> None:  # noqa: ARG002 - the protocol's; not stored here
        """Write an object whole from a file. Raises FileNotFoundError when that file is absent."""
        with path.open("rb") as source, self.writing(key) as file:
            while chunk := source.read(_CHUNK):
                file.write(chunk)

    def get_bytes(self, key: str) -> bytes:
        """Read a small object whole."""
        with self._mapped(key), self._reading(key) as file:
            return file.read()

    def fetch(self, key: str, path: Path, *, max_bytes: int | None = None, version: str | None = None) -> str:
        """Copy an object to a file and return its SHA-256, which is its version too."""
        with self._mapped(key):
            source = self._reading(key)
        with source, Receiver(path, max_bytes) as receiver:
            receiver.expect(os.fstat(source.fileno()).st_size)
            while chunk := self._read(key, source):
                receiver.write(chunk)
            if version is not None and receiver.sha256 != version:
                raise object_changed(key)
        return receiver.sha256

    def stat(self, key: str) -> ObjectInfo:
        """What listing would show."""
        with self._mapped(key), self._reading(key) as file:
            return _info(key, os.fstat(file.fileno()))

    def version(self, key: str) -> str:
        """SHA-256 of the content. Reads the object whole; `stat(key).signature` is the cheap sign of a change."""
        with self._mapped(key), self._reading(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def list_page(self, prefix: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """A page in key order. Passes over dotfiles, unfinished downloads and links; tells what it cannot list."""
        if limit < 1:
            raise ValueError(f"a page holds at least one object, not {limit}")
        with self._mapped(prefix, listing=True):
            walk = self._walks.resume(self._root, prefix, after)
            found, more = walk.take(limit)
        objects = tuple(_info(key, status) for key, status in found)
        next_after = objects[-1].key if more else None
        left_out = walk.told()
        if next_after is not None:
            self._walks.keep(prefix, next_after, walk)
        return Page(objects, next_after, left_out)

    def delete(self, key: str) -> None:
        """Remove an object; harmless when it is absent."""
        names = local_files.segments(key)
        try:
            with self._mapped(key):
                local_files.remove(self._root, names)
        except NotFound:
            pass

    def drafts(self, *, after: str | None, limit: int) -> DraftPage:
        """Files of writes that did not end, folder by folder."""
        with self._mapped(""):
            return drafts_below(self._root, after=after, limit=limit)

    def discard(self, draft: Draft) -> None:
        """Remove the file of a write that did not end."""
        with self._mapped(draft.name), suppress(FileNotFoundError):
            local_files.remove(self._root, local_files.segments(draft.name))

    def signed_get(self, key: str, *, seconds: int, filename: str | None = None) -> SignedUrl:
        """A URL of the API to read the object."""
        local_files.segments(key)
        return self._signed(Grant("GET", key, seconds, None, media_type_of(key), filename), {})

    def signed_put(self, key: str, *, seconds: int, size_bytes: int, media_type: str) -> SignedUrl:
        """A URL of the API to write the object, with that size and type only."""
        local_files.writable_segments(key)
        headers = {"Content-Type": media_type, "Content-Length": str(size_bytes)}
        return self._signed(Grant("PUT", key, seconds, size_bytes, media_type), headers)

    def open_token(self, token: str, method: str) -> Grant:
        """What a signed URL allows. Raises Unauthorized: `url_invalid` or `url_expired`."""
        return self._grants.open(token, method)

    def path_for(self, key: str) -> Path:
        """The file of an object, to serve it. Raises NotFound where it is absent or no plain file of ours."""
        with self._mapped(key), self._reading(key):
            return Path(self._root, *local_files.segments(key))

    def ready(self) -> None:
        """Raises StorageUnavailable when the directory cannot be written, or has no room."""
        probe = Path(self._root, f".ready-{os.getpid()}-{time.monotonic_ns()}.tmp")
        try:
            try:
                probe.write_bytes(b"ready")
                check_room(Path(self._root), LEAST_ROOM_BYTES)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable(
                f"The store's directory cannot be written: {error.strerror}.", code=_code_of(error)
            ) from error

    def _signed(self, grant: Grant, headers: dict[str, str]) -> SignedUrl:
        url = f"{self._public_url}/v1/objects/{self._grants.seal(grant)}"
        return SignedUrl(url, grant.method, grant.seconds, headers)

    def _reading(self, key: str) -> io.BufferedReader:
        return os.fdopen(local_files.open_file(self._root, local_files.segments(key)), "rb")

    def _read(self, key: str, source: BinaryIO) -> bytes:
        with self._mapped(key):
            return source.read(_CHUNK)

    @contextmanager
    def _mapped(self, key: str, *, writing: bool = False, listing: bool = False) -> Iterator[None]:
        """Errors of the file system as errors of the store, or of the one object that is read."""
        try:
            yield
        except OSError as error:
            if not Path(self._root).is_dir():
                raise StorageUnavailable("The store's directory is gone. Is its disk mounted?") from error
            folder = isinstance(error, NotADirectoryError | IsADirectoryError)
            if folder and writing:
                raise local_files.clashes(key) from error
            if folder or isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP:
                raise NotFound(f"There is no object {key!r}.", code="object_not_found") from error
            if not writing and not listing and error.errno not in EXHAUSTED:
                # One file with the wrong owner, or on a bad sector, is not a store that is away, as long as the store
                # can be used otherwise: it must not hold up all the others.
                self.ready()
                raise BadRequest(
                    f"The file {key!r} cannot be read by audiomill ({error.strerror}). Let its user read it, or send "
                    "it again.",
                    code="object_unreadable",
                ) from error
            raise StorageUnavailable(
                f"The store cannot read or write: {error.strerror}.", code=_code_of(error)
            ) from error


class ObjectWriter:
    """What `LocalStore.writing` hands out: takes bytes until its block ends."""

    def __init__(self, store: LocalStore, key: str, file: BinaryIO) -> None:
        self._store, self._key, self._file = store, key, file

    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises StorageUnavailable, for example when the disk is full."""
        with self._store._mapped(self._key, writing=True):
            self._file.write(chunk)


def _code_of(error: OSError) -> str | None:
    return STORE_FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else None


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    # The inode is no part of what was written: network folders and backups number the same files anew.
    written = f"{status.st_size}-{status.st_mtime_ns}"
    # Settled by ctime, not mtime: copying programs set mtime back to the original's, which may be years ago.
    age_seconds = max(0.0, time.time() - status.st_ctime)
    signature = f"{written}-{status.st_ino}"
    return ObjectInfo(
        key, status.st_size, signature, settled_seconds=age_seconds, written=written, age_seconds=age_seconds
    )
