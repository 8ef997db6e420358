"""Ordering what was found in the inbox: one submission for what one workspace dropped for one recipe.

A file with a manifest is one job with all that the manifest names. Nothing is read from the store here, and nothing
but the database's absence is raised: an object that cannot be ordered is noted as such, after the others were ordered
without it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from audiomill.database.tables import Job, Recording
from audiomill.errors import CustomerError, DatabaseUnavailable, EngineUnavailable, QuotaExceeded
from audiomill.inbox.entries import NEW, Entry, Note, Outcome
from audiomill.jobs.inputs import display_name
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo

_UNCHANGED = (
    "It lies there anew with the bytes and the time that it had when it was ordered, so it was not ordered again. "
    "To order it again, set its time (touch) or drop it under another name."
)


_BY_MANIFEST = "Ordered as its manifest {name!r} says."
_AS_INPUT = "An input of the order of {name!r}."
HELD = "Its manifest {name!r} was not ordered; what became of that says why."


@dataclass(frozen=True)
class Present:
    """An object as it is. role: what it is to the order; None: what the recipe takes first."""

    info: ObjectInfo
    version: str
    role: str | None = None

    @property
    def input(self) -> InputObject:
        """As an order takes it."""
        return InputObject(self.info.key, self.version, self.info.size_bytes, display_name(self.info.key))


@dataclass(frozen=True)
class Found:
    """An object in its place, as it is; with a manifest, all that this names."""

    info: ObjectInfo
    workspace_id: str
    recipe: str
    version: str
    manifest: Present | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    others: tuple[Present, ...] = ()

    @property
    def led_by(self) -> tuple[Present, ...]:
        """The objects of which each writing is an order: the file and its manifest, not what it is given beside."""
        return (*([self.manifest] if self.manifest else []), Present(self.info, self.version))

    def is_settled(self, known: Mapping[str, Entry]) -> bool:
        """Whether it was ordered, or refused, as it is."""
        return all(known.get(each.info.key, NEW).settles(each.info) for each in self.led_by)

    @property
    def unchanged(self) -> list[Note]:
        """What is to be said where it is what was ordered before. It belongs to its manifest as it did."""
        manifest = self.manifest.info.key if self.manifest else None
        return [
            Note(
                lead.info, "submitted", version=lead.version, reason=_UNCHANGED,
                named_by=None if lead.info.key == manifest else manifest,
            )
            for lead in self.led_by
        ]  # fmt: skip

    def notes(self, outcome: Outcome, *, reason: str | None = None, submission_id: str | None = None) -> list[Note]:
        """What is to be said of its objects."""
        if self.manifest is None:
            version = None if outcome == "waiting" else self.version
            return [Note(self.info, outcome, version=version, reason=reason, submission_id=submission_id)]
        return [
            Note(
                self.manifest.info,
                outcome,
                version=None if outcome == "waiting" else self.manifest.version,
                reason=reason,
                submission_id=submission_id,
            ),
            *(self._beside(each, outcome, submission_id) for each in (self.led_by[-1], *self.others)),
        ]

    def _beside(self, each: Present, outcome: Outcome, submission_id: str | None) -> Note:
        key = self.led_by[0].info.key
        if outcome != "submitted":
            return Note(each.info, "waiting", reason=HELD.format(name=display_name(key)), named_by=key)
        said = (_BY_MANIFEST if each.info is self.info else _AS_INPUT).format(name=display_name(key))
        return Note(each.info, outcome, each.version, said, submission_id, named_by=key)


Failed = Callable[[ObjectInfo, Entry, Exception], Note]


def order_found(
    session: Session, found: Sequence[Found], known: Mapping[str, Entry], settings: Settings, *, failed: Failed
) -> list[Note]:
    """Order what is new of it, and return what is to be noted. `known`: the entries as they are now."""
    notes: list[Note] = []
    groups: dict[tuple[str, str], list[Found]] = {}
    for each in found:
        if _is_unchanged(session, each, known):
            notes += each.unchanged
        else:
            groups.setdefault((each.workspace_id, each.recipe), []).append(each)
    limit = settings.limits.max_jobs_per_submission
    for members in groups.values():
        for start in range(0, len(members), limit):
            notes += _ordered(session, members[start : start + limit], known, settings, failed)
    return notes


def _is_unchanged(session: Session, found: Found, known: Mapping[str, Entry]) -> bool:
    """Whether it is what was ordered before, moved or restored with its time, and that order has not come to nothing.

    A copy that keeps the time (a file manager's, rsync's) looks the same; where the job failed or was cancelled it was
    dropped to be tried again.
    """
    for lead in found.led_by:
        entry = known.get(lead.info.key, NEW)
        if entry.outcome != "submitted" or entry.version != lead.version or entry.written != lead.info.written:
            return False
    state = session.scalar(
        select(Job.state)
        .join(Recording, Recording.id == Job.recording_id)
        .where(Job.submission_id == entry.submission_id, Recording.object_key == found.info.key)
        .limit(1)
    )
    return state not in {"failed", "cancelled"}


def _ordered(
    session: Session, part: Sequence[Found], known: Mapping[str, Entry], settings: Settings, failed: Failed
) -> list[Note]:
    try:
        with session.begin_nested():
            submission_id = _submit(session, part, known, settings)
    except (OperationalError, DatabaseUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - whatever one object does to us, the others go on
        waits = isinstance(error, EngineUnavailable | QuotaExceeded)
        if waits and (len(part) == 1 or all(found.manifest is None for found in part)):
            # Taken when a worker that can do it has spoken, or when there is room again.
            return [note for found in part for note in found.notes("waiting", reason=str(error))]
        if len(part) > 1:
            # One of them cannot be ordered: find out which, one by one.
            return [note for found in part for note in _ordered(session, [found], known, settings, failed)]
        (found,) = part
        if isinstance(error, CustomerError):
            return found.notes("rejected", reason=error.message)
        first = found.led_by[0].info
        return [failed(first, known.get(first.key, NEW), error), *found.notes("failed")[1:]]
    return [note for found in part for note in found.notes("submitted", submission_id=submission_id)]


def _submit(session: Session, part: Sequence[Found], known: Mapping[str, Entry], settings: Settings) -> str:
    # What was ordered before is part of the key: A, B and A again are three orders, though the first and the third
    # be alike in everything that a listing shows.
    order = [
        [each.info.key, each.info.signature, each.version, known.get(each.info.key, NEW).submission_id]
        for found in part
        for each in (*found.led_by, *found.others)
    ]
    result = submit(
        session,
        workspace_id=part[0].workspace_id,
        source="inbox",
        idempotency_key=f"inbox:{hashlib.sha256(rfc8785.dumps(order)).hexdigest()}",
        jobs=[
            NewJob(
                found.recipe,
                found.parameters,
                found.led_by[-1].input,
                others=tuple((each.role, each.input) for each in found.others),
            )
            for found in part
        ],
        settings=settings,
    )
    return result.submission_id
