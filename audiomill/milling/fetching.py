"""Bringing an input from the store to this machine. Decoding sound is audiomill.audio's part."""

from pathlib import Path

from audiomill.errors import BadInput, BadRequest, Conflict, NotFound
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

# Four bytes a character at most in UTF-8, and a byte-order mark.
_BYTES_PER_CHARACTER = 4


def fetch_input(store: ObjectStore, item: ClaimedItem, path: Path, settings: Settings) -> str:
    """Copy an item's input to a file and return its SHA-256.

    Raises BadInput (gone, changed, not given out by the store), LimitExceeded.

    What is worked on is what was ordered: its SHA-256 where that is known, else the store's version of then.
    """
    limits = settings.limits
    most = limits.max_text_characters * _BYTES_PER_CHARACTER + 3 if item.kind == "text" else limits.max_bytes
    version = item.object_version if item.input_sha256 is None else None
    try:
        sha256 = store.fetch(item.object_key, path, max_bytes=most, version=version)
    except NotFound as error:
        raise BadInput(
            f"{item.filename!r} was deleted before it could be read. Send it again.", code="input_gone"
        ) from error
    except Conflict as error:
        raise _changed(item) from error
    except BadRequest as error:
        # What the store says of this one object, under the name that its customer knows it by.
        raise BadInput(error.message.replace(repr(item.object_key), repr(item.filename)), code=error.code) from error
    if item.input_sha256 not in {None, sha256}:
        raise _changed(item)
    return sha256


def _changed(item: ClaimedItem) -> BadInput:
    return BadInput(
        f"{item.filename!r} was replaced by other bytes after it was ordered. Order it again as it is now.",
        code="input_changed",
    )


def read_text(path: Path, filename: str) -> str:
    """A text file as text: UTF-8, with or without a byte-order mark. Raises BadInput."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{filename!r} is not UTF-8 text (byte {error.start + 1}). Save it as plain UTF-8 text.", code="not_text"
        ) from error
