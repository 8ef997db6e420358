"""Bringing an input from the store to this machine. Decoding sound is audiomill.audio's part."""

from pathlib import Path

from audiomill.catalogue.plan import SOURCE
from audiomill.errors import BadInput, BadRequest, Conflict, NotFound, OperatorError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.reads import InputRef
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

# Four bytes a character at most in UTF-8, and a byte-order mark.
_BYTES_PER_CHARACTER = 4


def fetch_input(store: ObjectStore, item: ClaimedItem, path: Path, settings: Settings) -> str:
    """Copy what an item reads first to a file and return its SHA-256: see `fetch`."""
    first = InputRef(
        f"input:{SOURCE}",
        item.object_key,
        item.object_version,
        item.input_sha256,
        item.kind,
        item.filename,
        item.size_bytes,
        item.recording_id,
    )
    return fetch(store, first, path, settings)


def fetch(store: ObjectStore, ref: InputRef, path: Path, settings: Settings) -> str:
    """Copy one file that an item reads, and return its SHA-256.

    Raises BadInput (gone, changed, not given out by the store), LimitExceeded; OperatorError (`part_gone`) of a part.

    What is worked on is what was ordered: its SHA-256 where that is known, else the store's version of then.
    """
    most = {"text": settings.limits.max_text_characters * _BYTES_PER_CHARACTER + 3}.get(
        ref.kind, settings.limits.max_bytes
    )
    version = ref.version if ref.sha256 is None else None
    is_part = ref.recording_id is None
    try:
        sha256 = store.fetch(ref.object_key, path, max_bytes=None if is_part else most, version=version)
    except NotFound as error:
        if is_part:
            raise OperatorError(f"The part {ref.name} of this job is gone from the store.", code="part_gone") from error
        raise BadInput(
            f"{ref.filename!r} was deleted before it could be read. Send it again.", code="input_gone"
        ) from error
    except Conflict as error:
        raise _changed(ref) from error
    except BadRequest as error:
        # What the store says of this one object, under the name that its customer knows it by.
        raise BadInput(error.message.replace(repr(ref.object_key), repr(ref.filename)), code=error.code) from error
    if ref.sha256 not in {None, sha256}:
        raise _changed(ref)
    return sha256


def _changed(ref: InputRef) -> BadInput:
    return BadInput(
        f"{ref.filename!r} was replaced by other bytes after it was ordered. Order it again as it is now.",
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
