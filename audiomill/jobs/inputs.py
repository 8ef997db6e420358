"""What a customer brings: uploads by signed URL, and texts given inline. Objects of the inbox are in inbox.py."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from audiomill.database.tables import Upload
from audiomill.errors import BadInput, Conflict, LimitExceeded, NotFound
from audiomill.formats import media_type_of
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.submission import InputObject, recording_too_large
from audiomill.settings import Settings
from audiomill.storage import ObjectStore, SignedUrl
from audiomill.storage.keys import text_key, upload_key

# Tab, line feed, form feed and carriage return are part of texts; the rest of Unicode's category Cc is damage.
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_FILENAME_LIMIT = 255


@dataclass(frozen=True)
class UploadTicket:
    """A place in the store and the URL to write to it."""

    id: str
    object_key: str
    signed: SignedUrl


def create_upload(
    session: Session,
    store: ObjectStore,
    *,
    workspace_id: str,
    filename: str,
    content_type: str,
    size_bytes: int,
    settings: Settings,
) -> UploadTicket:
    """Announce an upload. Raises LimitExceeded, BadInput (empty)."""
    name = display_name(filename)
    if size_bytes <= 0:
        raise BadInput(f"{name!r} is empty. Choose a file with something in it.", code="empty_file")
    if size_bytes > settings.limits.max_bytes:
        raise recording_too_large(name, size_bytes, settings)
    upload_id = new_id("upl")
    key = upload_key(workspace_id, upload_id)
    seconds = settings.storage.signed_url_seconds
    session.add(
        Upload(
            id=upload_id,
            workspace_id=workspace_id,
            object_key=key,
            filename=name,
            content_type=content_type,
            size_bytes=size_bytes,
            expires_at=func.clock_timestamp() + timedelta(seconds=seconds),
        )
    )
    signed = store.signed_put(key, seconds=seconds, size_bytes=size_bytes, media_type=content_type)
    return UploadTicket(upload_id, key, signed)


def display_name(filename: str) -> str:
    """A file name fit to show: its last part, without control characters, of bounded length."""
    last = PurePosixPath(filename.replace("\\", "/")).name
    shown = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    return shown[-_FILENAME_LIMIT:] or "unnamed"


def uploaded_object(session: Session, store: ObjectStore, *, workspace_id: str, upload_id: str) -> InputObject:
    """What was uploaded, as an input. Raises NotFound, Conflict (nothing was uploaded yet).

    Until this transaction ends no other bytes are put in its place (overwriting.py): what is hashed is what is ordered.
    """
    upload = session.scalar(
        select(Upload).where(Upload.id == upload_id, Upload.workspace_id == workspace_id).with_for_update(read=True)
    )
    if upload is None:
        raise NotFound(f"There is no upload {upload_id!r} here.", code="upload_not_found")
    try:
        info = store.stat(upload.object_key)
        version = info.version or store.version(upload.object_key)
    except NotFound as error:
        raise Conflict(
            f"Nothing was uploaded to {upload_id} yet. Send the bytes to its URL first.", code="upload_missing"
        ) from error
    return InputObject(upload.object_key, version, info.size_bytes, upload.filename)


def stored_text(
    store: ObjectStore, *, workspace_id: str, text: str, settings: Settings, filename: str = "text.txt"
) -> InputObject:
    """A text put into the store under its own hash. Raises BadInput, LimitExceeded as `check_text`."""
    check_text(text, settings)
    data = text.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    key = text_key(workspace_id, sha256)
    store.put_bytes(key, data, media_type=media_type_of(key))
    return InputObject(key, sha256, len(data), display_name(filename), sha256, len(text))


def check_text(text: str, settings: Settings) -> None:
    """Raises BadInput (empty_text, control_characters) or LimitExceeded (text_too_long)."""
    if not text.strip():
        raise BadInput("The text is empty. Write what is to be spoken.", code="empty_text")
    if len(text) > settings.limits.max_text_characters:
        raise LimitExceeded(
            f"The text has {len(text):,} characters; one text may have {settings.limits.max_text_characters:,}. "
            "Split it into several.",
            code="text_too_long",
        )
    found = _CONTROL.search(text)
    if found is not None:
        raise BadInput(
            f"The text has a control character (U+{ord(found.group()):04X}) at position {found.start() + 1}. "
            "Save it as plain UTF-8 text.",
            code="control_characters",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"The text has half of a character (a lone surrogate) at position {error.start + 1}. "
            "Save it as plain UTF-8 text.",
            code="control_characters",
        ) from error
