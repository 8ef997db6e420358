"""`submit`: recordings, submission, jobs and all their work items in one transaction, once per idempotency key.

Two statements do it, whoever orders: one reads all that an order is decided by, one writes all that it makes, or
nothing (order_statements.py). A session sends them within its transaction (`submit`, `check`); the API sends them by
themselves, on its event loop (`decide`, `make`): docs/decisions/0035. What is decided between them is in orders.py and
resolving.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.accounts.space import Space, refuse_if_too_much
from audiomill.database.reading import Reader
from audiomill.errors import Conflict, NotFound
from audiomill.jobs.availability import Word, merged
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.order_statements import KNOWN, MAKE, PRIOR
from audiomill.jobs.orders import (
    InputObject,
    NewJob,
    Source,
    Submitted,
    recording_too_large,
    refuse_malformed,
    sha256_of_order,
)
from audiomill.jobs.resolving import recordings_of, resolved, rows_of, tasks_of
from audiomill.jobs.speeds import Speeds
from audiomill.settings import Settings

__all__ = [
    "InputObject",
    "NewJob",
    "Submitted",
    "check",
    "decide",
    "make",
    "recording_too_large",
    "submit",
]

_MARK_UPLOADS = text(
    """
    UPDATE uploads SET ordered = true
    WHERE object_key = ANY(:keys) AND workspace_id = :workspace AND NOT ordered
    """
)


@dataclass(frozen=True)
class Decided:
    """An order that may be made: the values of the statement that makes it."""

    submission_id: str
    job_ids: tuple[str, ...]
    values: Mapping[str, Any]


def submit(
    session: Session,
    *,
    workspace_id: str,
    source: Source,
    idempotency_key: str,
    jobs: Sequence[NewJob],
    settings: Settings,
) -> Submitted:
    """Order jobs. A repeat with the same key and order returns the first one's jobs; nothing is made twice.

    Raises NotFound (workspace), BadRequest (unknown recipe, bad parameter, not for such inputs), LimitExceeded,
    EngineUnavailable, QuotaExceeded (`workspace_full`), Conflict (the key was used for another order).
    """
    decided = _decided(session, workspace_id, source, idempotency_key, jobs, settings)
    if isinstance(decided, Submitted):
        return decided
    # Uploads that are ordered are counted as recordings from now on. Their rows are locked before the recordings'.
    session.execute(_MARK_UPLOADS, {"keys": decided.values["keys"], "workspace": workspace_id})
    if _rows(session, MAKE, decided.values):
        return Submitted(decided.submission_id, decided.job_ids, created=True)
    return _made_meanwhile(_rows(session, PRIOR, decided.values), decided)


def check(
    session: Session, *, workspace_id: str, idempotency_key: str, jobs: Sequence[NewJob], settings: Settings
) -> Submitted | None:
    """Raise what `submit` would now, and write nothing; what the same order came to, if it was made before.

    For who must do something else first (store a text), and would have to undo it.
    """
    decided = _decided(session, workspace_id, "api", idempotency_key, jobs, settings)
    return decided if isinstance(decided, Submitted) else None


async def decide(
    reader: Reader,
    *,
    workspace_id: str,
    source: Source,
    idempotency_key: str,
    jobs: Sequence[NewJob],
    settings: Settings,
) -> Submitted | Decided:
    """As `check`, by a statement of its own; what `make` takes. Raises DatabaseUnavailable, too."""
    values = _asked(workspace_id, idempotency_key, jobs, settings)
    return _of(await reader.rows(KNOWN.encode(), values), values, source, jobs, settings)


async def make(reader: Reader, decided: Decided) -> Submitted:
    """Make the jobs of an order without uploads, by a statement of its own. Raises as `submit`, DatabaseUnavailable.

    Sent again after a lost connection it finds its own submission under its key.
    """
    if await reader.rows(MAKE.encode(), decided.values):
        return Submitted(decided.submission_id, decided.job_ids, created=True)
    return _made_meanwhile(await reader.rows(PRIOR.encode(), decided.values), decided)


def _decided(
    session: Session,
    workspace_id: str,
    source: Source,
    idempotency_key: str,
    jobs: Sequence[NewJob],
    settings: Settings,
) -> Submitted | Decided:
    values = _asked(workspace_id, idempotency_key, jobs, settings)
    return _of(_rows(session, KNOWN, values), values, source, jobs, settings)


def _rows(session: Session, statement: str, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*session.connection().exec_driver_sql(statement, dict(values)).mappings()]


def _asked(workspace_id: str, idempotency_key: str, jobs: Sequence[NewJob], settings: Settings) -> dict[str, Any]:
    """The values of `KNOWN`, for an order of a form that may be."""
    refuse_malformed(idempotency_key, jobs, settings)
    sizes = {(given.key, given.version): given.size_bytes for new in jobs for _, given in new.inputs}
    return {
        "workspace": workspace_id,
        "idempotency_key": idempotency_key,
        "request_sha256": sha256_of_order(jobs),
        "tasks": tasks_of(jobs),
        "keys": [key for key, _ in sizes],
        "versions": [version for _, version in sizes],
        "sizes": list(sizes.values()),
    }


def _of(
    found: Sequence[Mapping[str, Any]],
    values: dict[str, Any],
    source: Source,
    jobs: Sequence[NewJob],
    settings: Settings,
) -> Submitted | Decided:
    """What was asked for, decided by what was found."""
    if not found:
        raise _no_workspace(values)
    known = found[0]
    if known["submission_id"] is not None:
        return _replayed(known, values, created=False)
    orders = resolved(jobs, merged(Word(**word) for word in known["words"] or ()), settings)
    space = Space.of(known["id"], int(known["kept_bytes"]), known["allowed_bytes"], settings)
    refuse_if_too_much(space, int(known["brought_bytes"]), settings)
    submission_id = new_id("sub")
    rows = rows_of(orders, known["id"], known["tier"], Speeds(known["speeds"] or ()))
    made = {
        "submission": submission_id,
        "source": source,
        "tier": known["tier"],
        "recordings": Jsonb(recordings_of(jobs)),
        "plans": Jsonb(rows.plans),
        "jobs": Jsonb(rows.jobs),
        "inputs": Jsonb(rows.inputs),
        "items": Jsonb(rows.items),
    }
    return Decided(submission_id, tuple(row["id"] for row in rows.jobs), {**values, **made})


def _made_meanwhile(found: Sequence[Mapping[str, Any]], decided: Decided) -> Submitted:
    if not found:
        raise _no_workspace(decided.values)
    return _replayed(found[0], decided.values, created=found[0]["submission_id"] == decided.submission_id)


def _replayed(prior: Mapping[str, Any], values: Mapping[str, Any], *, created: bool) -> Submitted:
    if prior["request_sha256"] != values["request_sha256"]:
        raise Conflict(
            f"The idempotency key {values['idempotency_key']!r} was used for another order. Use a new key for a new "
            "order.",
            code="idempotency_key_reused",
        )
    return Submitted(prior["submission_id"], tuple(prior["job_ids"] or ()), created=created)


def _no_workspace(values: Mapping[str, Any]) -> NotFound:
    return NotFound(f"There is no workspace {values['workspace']!r}.", code="workspace_not_found")
