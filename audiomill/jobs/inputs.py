"""What a customer brings: uploads by signed URL, and texts given inline. Objects of the inbox are audiomill/inbox's."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Literal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from audiomill.accounts.space import refuse_if_full
from audiomill.catalogue.speaking import least_seconds
from audiomill.database.tables import Upload
from audiomill.errors import BadInput, Conflict, LimitExceeded, NotFound, QuotaExceeded
from audiomill.formats import media_type_of
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.submission import InputObject, recording_too_large
from audiomill.settings import Settings
from audiomill.storage import ObjectStore, SignedUrl
from audiomill.storage.keys import text_key, upload_key

# Tab, line feed, form feed and carriage return are part of texts; the rest of Unicode's category Cc is damage.
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_FILENAME_LIMIT = 255
_DELETION_WAIT_MS = 2000


@dataclass(frozen=True)
class UploadTicket:
    """A place in the store and the URL to write to it."""

    id: str
    object_key: str
    signed: SignedUrl


@dataclass(frozen=True)
class UploadView:
    """An upload, and what was noted when its bytes were received by us: None before, and always with S3."""

    id: str
    object_key: str
    filename: str
    content_type: str
    signature: str | None
    sha256: str | None


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
    """Announce an upload. Raises LimitExceeded, BadInput (empty), QuotaExceeded (too_many_uploads, workspace_full)."""
    name = display_name(filename)
    if size_bytes <= 0:
        raise BadInput(f"{name!r} is empty. Choose a file with something in it.", code="empty_file")
    if size_bytes > settings.limits.max_bytes:
        raise recording_too_large(name, size_bytes, settings)
    _refuse_more_uploads(session, workspace_id, size_bytes, settings)
    refuse_if_full(session, workspace_id, size_bytes, settings)
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


def _refuse_more_uploads(session: Session, workspace_id: str, size_bytes: int, settings: Settings) -> None:
    """Raises QuotaExceeded when the URLs that still hold are too many, or may bring too many bytes.

    Two that are announced at the same moment may both be the last one: no lock is worth that.
    """
    limits = settings.limits
    count, announced_bytes = session.execute(
        select(func.count(), func.coalesce(func.sum(Upload.size_bytes), 0)).where(
            Upload.workspace_id == workspace_id, Upload.expires_at > func.clock_timestamp()
        )
    ).one()
    if count >= limits.max_open_uploads or announced_bytes + size_bytes > limits.max_open_upload_bytes:
        raise QuotaExceeded(
            f"{count:,} uploads of {announced_bytes:,} bytes are announced and their URLs still hold; a workspace may "
            f"have {limits.max_open_uploads:,} of {limits.max_open_upload_bytes:,} bytes. Wait until some have ended: "
            f"a URL lives for {settings.storage.signed_url_seconds} seconds.",
            code="too_many_uploads",
        )


def display_name(filename: str) -> str:
    """A file name fit to show: its last part, without control characters, of bounded length."""
    last = PurePosixPath(filename.replace("\\", "/")).name
    shown = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    return shown[-_FILENAME_LIMIT:] or "unnamed"


def find_uploads(session: Session, *, workspace_id: str, upload_ids: Sequence[str]) -> list[UploadView]:
    """Uploads as they were announced and received, in that order. Raises NotFound."""
    rows = session.scalars(select(Upload).where(Upload.id.in_(upload_ids), Upload.workspace_id == workspace_id))
    found = {
        row.id: UploadView(row.id, row.object_key, row.filename, row.content_type, row.signature, row.sha256)
        for row in rows
    }
    for upload_id in upload_ids:
        if upload_id not in found:
            raise NotFound(f"There is no upload {upload_id!r} here.", code="upload_not_found")
    return [found[upload_id] for upload_id in upload_ids]


def received(store: ObjectStore, upload: UploadView) -> InputObject:
    """What was uploaded, as an input. May read it whole: not for a transaction. Raises Conflict (nothing there yet).

    It is read where it was not hashed as it came: by an earlier release, or by a process that died before it had noted
    what it received.
    """
    sha256 = None
    try:
        info = store.stat(upload.object_key)
        if info.version is None:
            noted = upload.sha256 is not None and upload.signature == info.signature
            sha256 = upload.sha256 if noted else store.version(upload.object_key)
    except NotFound as error:
        raise Conflict(
            f"Nothing was uploaded to {upload.id} yet. Send the bytes to its URL first.", code="upload_missing"
        ) from error
    kind: Literal["audio"] | None = "audio" if upload.content_type.startswith(("audio/", "video/")) else None
    return InputObject(
        upload.object_key, info.version or str(sha256), info.size_bytes, upload.filename, sha256, kind=kind
    )


def hold_uploads(session: Session, uploads: Sequence[UploadView]) -> None:
    """Keep uploads as they were looked at until this transaction ends (overwriting.py). Raises Conflict, NotFound."""
    rows = session.execute(
        select(Upload.id, Upload.signature, Upload.sha256)
        .where(Upload.id.in_([upload.id for upload in uploads]))
        .order_by(Upload.id)
        # Not shared: the order notes on each that it is ordered, and two that shared it would wait for each other.
        .with_for_update(key_share=True)
    )
    now = {row.id: (row.signature, row.sha256) for row in rows}
    for upload in uploads:
        if upload.id not in now:
            raise NotFound(f"There is no upload {upload.id!r} here.", code="upload_not_found")
        if now[upload.id] != (upload.signature, upload.sha256):
            raise Conflict(
                f"Other bytes were sent to {upload.id} while it was ordered. Order it again as it is now.",
                code="upload_changed",
            )


def text_input(*, workspace_id: str, text: str, settings: Settings, filename: str = "text.txt") -> InputObject:
    """A text given inline, as an input known by its hash; it is not stored yet. Raises as `check_text`."""
    check_text(text, settings)
    data = text.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    key = text_key(workspace_id, sha256)
    return InputObject(key, sha256, len(data), display_name(filename), sha256, len(text), "text", least_seconds(text))


def store_text(store: ObjectStore, given: InputObject, text: str) -> None:
    """Put an inline text where its input says that it is."""
    store.put_bytes(given.key, text.encode(), media_type=media_type_of(given.key))


def keep_text(store: ObjectStore, given: InputObject, text: str) -> None:
    """Put it again where a deletion took it that had looked before the order stood (`wait_for_deletions`)."""
    try:
        store.stat(given.key)
    except NotFound:
        store_text(store, given, text)


def wait_for_deletions(session: Session, workspace_id: str) -> None:
    """Until deletions of the workspace's texts are over that began before: later ones see what is ordered now.

    Not for long: a store that takes its time over a deletion is not to hold up who orders; it is broken off then.
    """
    session.execute(text(f"SET LOCAL lock_timeout = {_DELETION_WAIT_MS}"))
    name = func.hashtextextended(f"texts {workspace_id}", 0)
    session.execute(select(func.pg_advisory_xact_lock_shared(name)))


def hold_for_deletion(session: Session, workspace_id: str) -> None:
    """Before the last look whether a text is wanted, until it is deleted: who orders it meanwhile waits, and looks."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"texts {workspace_id}", 0))))


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
