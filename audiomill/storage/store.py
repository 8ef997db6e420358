"""The object store protocol. Keys are slash-separated text without a leading slash; bytes are immutable once put.

Errors: NotFound (code `object_not_found`) where a key is absent; BadRequest (`object_unreadable`) for one object that
the store has and does not give us; StorageUnavailable after retries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from audiomill.errors import Conflict


@dataclass(frozen=True)
class ObjectInfo:
    """An object as listing shows it.

    signature: cheap to get, changes whenever the object is written, with the same bytes too, or another takes its
    place (S3: entity tag and time of writing; local: size, time of writing, inode).
    written: the part of it that says what was written and when. Where it is the same and the signature is not, the
    object was moved or restored as it was, or a network folder numbers its files anew.
    settled_seconds: how long it has been unchanged, by the store's clock (S3 objects appear whole).
    age_seconds: how long ago it was written, by the store's clock.
    version: what `version` would say, where the store knows it without reading the object; else None.
    """

    key: str
    size_bytes: int
    signature: str
    settled_seconds: float
    version: str | None = None
    written: str = ""
    age_seconds: float = 0.0


@dataclass(frozen=True)
class LeftOut:
    """What lies there and cannot be an object: a name fit to show (no key), and why, in a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Page:
    """A page of a listing in key order, and what it came by and left out. `next_after` is None at the end."""

    objects: tuple[ObjectInfo, ...]
    next_after: str | None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Draft:
    """What a put that crashed left half written, or one at work is writing. `upload_id`: of S3's uploads in parts."""

    name: str
    size_bytes: int
    age_seconds: float
    upload_id: str | None = None


@dataclass(frozen=True)
class DraftPage:
    """Some drafts. `next_after` is where the search goes on; None at the end."""

    drafts: tuple[Draft, ...]
    next_after: str | None


@dataclass(frozen=True)
class SignedUrl:
    """A URL that does one thing to one object for a while. `headers` must be sent with it."""

    url: str
    method: str
    expires_seconds: int
    headers: Mapping[str, str] = field(default_factory=dict)


def object_changed(key: str) -> Conflict:
    """The error for an object that is no longer what the caller knew."""
    return Conflict(f"The object {key!r} was written again meanwhile.", code="object_changed")


class ObjectStore(Protocol):
    """Where bytes live. Every implementation passes tests/unit/test_storage_contract.py."""

    def put_bytes(self, key: str, data: bytes, *, media_type: str = "application/octet-stream") -> None:
        """Write an object whole; readers see the old or the new, never a part."""
        ...

    def put_file(self, key: str, path: Path, *, media_type: str = "application/octet-stream") -> None:
        """Write an object whole from a file."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Read a small object whole."""
        ...

    def fetch(self, key: str, path: Path, *, max_bytes: int | None = None, version: str | None = None) -> str:
        """Copy an object to a file and return the SHA-256 (hex) of what was written.

        Raises LimitExceeded, and Conflict (`object_changed`) when it is not the `version` that was asked for. No file
        is left when it raises.
        """
        ...

    def stat(self, key: str) -> ObjectInfo:
        """What listing would show. Raises NotFound."""
        ...

    def version(self, key: str) -> str:
        """Entity tag by content: equal for the same bytes written the same way again, other for other bytes."""
        ...

    def list_page(self, prefix: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Up to `limit` objects whose key starts with `prefix` and is greater than `after`, in key order.

        Whoever pages on with `next_after` may not see what was written after its first page.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; harmless when it is absent."""
        ...

    def drafts(self, *, after: str | None, limit: int) -> DraftPage:
        """Unfinished writes, some of which may be at work; ends early rather than looking for long."""
        ...

    def discard(self, draft: Draft) -> None:
        """Remove what an unfinished write left; harmless when it is gone."""
        ...

    def signed_get(self, key: str, *, seconds: int, filename: str | None = None) -> SignedUrl:
        """A URL to read the object; `filename` is what a browser saves it as."""
        ...

    def signed_put(self, key: str, *, seconds: int, size_bytes: int, media_type: str) -> SignedUrl:
        """A URL to write the object once announced with that size and type."""
        ...

    def ready(self) -> None:
        """Raises StorageUnavailable when the store cannot be used."""
        ...
