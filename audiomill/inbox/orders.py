"""Ordering what was found in the inbox: one submission for what one workspace dropped for one recipe.

Nothing is read from the store here, and nothing but the database's absence is raised: an object that cannot be ordered
is noted as such, after the others were ordered without it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import rfc8785
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from audiomill.database.tables import Job, Recording
from audiomill.errors import CustomerError, DatabaseUnavailable, EngineUnavailable, QuotaExceeded
from audiomill.inbox.entries import NEW, Entry, Note
from audiomill.jobs.inputs import display_name
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo

_UNCHANGED = (
    "It lies there anew with the bytes and the time that it had when it was ordered, so it was not ordered again. "
    "To order it again, set its time (touch) or drop it under another name."
)


@dataclass(frozen=True)
class Found:
    """An object in its place, as it is."""

    info: ObjectInfo
    workspace_id: str
    recipe: str
    version: str


Failed = Callable[[ObjectInfo, Entry, Exception], Note]


def order_found(
    session: Session, found: Sequence[Found], known: Mapping[str, Entry], settings: Settings, *, failed: Failed
) -> list[Note]:
    """Order what is new of it, and return what is to be noted. `known`: the entries as they are now."""
    notes: list[Note] = []
    groups: dict[tuple[str, str], list[Found]] = {}
    for each in found:
        if _is_unchanged(session, each, known.get(each.info.key, NEW)):
            notes.append(Note(each.info, "submitted", version=each.version, reason=_UNCHANGED))
        else:
            groups.setdefault((each.workspace_id, each.recipe), []).append(each)
    limit = settings.limits.max_jobs_per_submission
    for members in groups.values():
        for start in range(0, len(members), limit):
            notes += _ordered(session, members[start : start + limit], known, settings, failed)
    return notes


def _is_unchanged(session: Session, found: Found, entry: Entry) -> bool:
    """Whether it is what was ordered before, moved or restored with its time, and that order has not come to nothing.

    A copy that keeps the time (a file manager's, rsync's) looks the same; where the job failed or was cancelled it was
    dropped to be tried again.
    """
    if entry.outcome != "submitted" or entry.version != found.version or entry.written != found.info.written:
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
    except (EngineUnavailable, QuotaExceeded) as error:
        # Taken when a worker that can do it has spoken, or when there is room again.
        return [Note(found.info, "waiting", reason=error.message) for found in part]
    except Exception as error:  # noqa: BLE001 - whatever one object does to us, the others go on
        if len(part) > 1:
            # One of them cannot be ordered: find out which, one by one.
            return [note for found in part for note in _ordered(session, [found], known, settings, failed)]
        (found,) = part
        if isinstance(error, CustomerError):
            return [Note(found.info, "rejected", version=found.version, reason=error.message)]
        return [failed(found.info, known.get(found.info.key, NEW), error)]
    return [Note(found.info, "submitted", version=found.version, submission_id=submission_id) for found in part]


def _submit(session: Session, part: Sequence[Found], known: Mapping[str, Entry], settings: Settings) -> str:
    # What was ordered before is part of the key: A, B and A again are three orders, though the first and the third
    # be alike in everything that a listing shows.
    order = [
        [found.info.key, found.info.signature, found.version, known.get(found.info.key, NEW).submission_id]
        for found in part
    ]
    result = submit(
        session,
        workspace_id=part[0].workspace_id,
        source="inbox",
        idempotency_key=f"inbox:{hashlib.sha256(rfc8785.dumps(order)).hexdigest()}",
        jobs=[
            NewJob(
                found.recipe,
                {},
                InputObject(found.info.key, found.version, found.info.size_bytes, display_name(found.info.key)),
            )
            for found in part
        ],
        settings=settings,
    )
    return result.submission_id
