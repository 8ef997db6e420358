"""What became of each object of the inbox: read by page, noted, shown. sweep.py decides what is to become of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from audiomill.database.tables import InboxEntry
from audiomill.storage import LeftOut, ObjectInfo

log = structlog.get_logger(__name__)

Outcome = Literal["submitted", "rejected", "waiting", "failed"]

RETRY_SECONDS = 60.0
"""What failed by no fault of the object is tried again after so long."""


@dataclass(frozen=True)
class InboxEntryView:
    """What became of one object."""

    object_key: str
    outcome: str
    reason: str | None
    submission_id: str | None
    seen_at: datetime


@dataclass(frozen=True)
class Entry:
    """What is noted of an object: all None of one that was never seen."""

    signature: str | None = None
    written: str | None = None
    version: str | None = None
    outcome: str | None = None
    submission_id: str | None = None
    age_seconds: float = 0.0
    named_by: str | None = None

    def settles(self, info: ObjectInfo) -> bool:
        """Whether nothing is left to do for the object as it is. A wrong place may become a right one later."""
        return self.signature == info.signature and (
            self.outcome == "submitted" or (self.outcome == "rejected" and self.version is not None)
        )

    def says(self, info: ObjectInfo, outcome: Outcome) -> bool:
        """Whether this outcome of the object as it is was noted already."""
        return self.signature == info.signature and self.outcome == outcome

    def delays(self, info: ObjectInfo) -> bool:
        """Whether taking it failed by no fault of its own, a moment ago."""
        return self.says(info, "failed") and self.age_seconds < RETRY_SECONDS

    def rests(self, info: ObjectInfo) -> bool:
        """Whether a manifest, as it is, was looked at a moment ago, and could not be ordered."""
        return self.signature == info.signature and self.outcome is not None and self.age_seconds < RETRY_SECONDS

    def knows_by_tag(self, info: ObjectInfo) -> bool:
        """Whether this is an entry of before times were part of the signature of S3's objects, and tells the same."""
        return self.written is None and self.signature is not None and self.signature == info.version


NEW = Entry()


@dataclass(frozen=True)
class Note:
    """An entry to be written. named_by: the key of the manifest that names the object as an input."""

    info: ObjectInfo
    outcome: Outcome
    version: str | None = None
    reason: str | None = None
    submission_id: str | None = None
    named_by: str | None = None


def known_entries(session: Session, keys: Sequence[str]) -> dict[str, Entry]:
    """What is noted of these keys, in one look."""
    rows = session.execute(
        text(
            "SELECT object_key, signature, written, version, outcome, submission_id, named_by, "
            "extract(epoch FROM clock_timestamp() - seen_at) AS age FROM inbox_entries WHERE object_key = ANY(:keys)"
        ),
        {"keys": list(keys)},
    )
    return {
        row.object_key: Entry(
            row.signature, row.written, row.version, row.outcome, row.submission_id, float(row.age), row.named_by
        )
        for row in rows
    }


def write_notes(session: Session, notes: Iterable[Note]) -> None:
    """Write entries. One that the database does not take is logged and left out, and holds no other up."""
    # Of an object that several manifests name the last word holds: a statement may write a row once.
    pending = list({note.info.key: note for note in notes}.values())
    try:
        with session.begin_nested():
            _write(session, pending)
    except OperationalError:
        raise
    except DBAPIError as error:
        if len(pending) == 1:
            # Without the traceback: it holds the key.
            log.error("an inbox entry cannot be written", error=type(error.orig).__name__)  # noqa: TRY400
            return
        for note in pending:
            write_notes(session, [note])


def _write(session: Session, notes: Sequence[Note]) -> None:
    if not notes:
        return
    statement = insert(InboxEntry).values(
        [
            {
                "object_key": note.info.key,
                "signature": note.info.signature,
                "written": note.info.written,
                "version": note.version,
                "outcome": note.outcome,
                "reason": None if note.reason is None else storable(note.reason),
                "submission_id": note.submission_id,
                "named_by": note.named_by,
            }
            for note in notes
        ]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["object_key"],
            set_={
                **{
                    name: statement.excluded[name]
                    for name in ("signature", "written", "version", "outcome", "reason", "named_by")
                },
                "submission_id": func.coalesce(statement.excluded.submission_id, InboxEntry.submission_id),
                "seen_at": func.clock_timestamp(),
            },
        )
    )


def write_left_out(session: Session, left_out: Sequence[LeftOut]) -> int:
    """Say once what no listing can show as an object. Returns how many were new.

    Their names are no keys; should an object have such a name as its key, its own entry stays.
    """
    if not left_out:
        return 0
    reasons = {storable(each.name): each.reason for each in left_out}
    statement = insert(InboxEntry).values(
        [
            {"object_key": name, "signature": "left out", "written": "", "outcome": "rejected", "reason": reason}
            for name, reason in sorted(reasons.items())
        ]
    )
    written = session.execute(
        statement.on_conflict_do_update(
            index_elements=["object_key"],
            set_={"reason": statement.excluded.reason, "seen_at": func.clock_timestamp()},
            where=(InboxEntry.signature == "left out") & (InboxEntry.reason != statement.excluded.reason),
        ).returning(InboxEntry.object_key)
    )
    return len(written.all())


def storable(shown: str) -> str:
    """Text as PostgreSQL takes it: what it cannot hold is shown by its number."""
    return shown.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def recent_entries(session: Session, *, outcome: str | None = None, limit: int = 50) -> list[InboxEntryView]:
    """What became of the newest objects, newest first."""
    statement = select(InboxEntry).order_by(InboxEntry.seen_at.desc()).limit(limit)
    if outcome is not None:
        statement = statement.where(InboxEntry.outcome == outcome)
    return [
        InboxEntryView(row.object_key, row.outcome, row.reason, row.submission_id, row.seen_at)
        for row in session.scalars(statement)
    ]
