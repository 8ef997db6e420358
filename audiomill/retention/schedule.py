"""All sweeps, and taking them in turn. One that fails is told and never stops the others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from audiomill.database.tables import SweepPlace
from audiomill.retention import artifacts, bookkeeping, drafts, events, inbox, objects, uploads, workspaces
from audiomill.retention.sweeping import Freed, Ground, Sweep

SWEEPS: Sequence[Sweep] = (
    uploads.SWEEP,
    *workspaces.SWEEPS,
    artifacts.SWEEP,
    *objects.SWEEPS,
    drafts.SWEEP,
    events.SWEEP,
    *inbox.SWEEPS,
    *bookkeeping.SWEEPS,
)
MOST_PIECES = 1000
"""Of one sweep in a dry run: a million rows."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Swept:
    """What came of one sweep. `error` is the kind of what stopped it."""

    sweep: Sweep
    freed: Freed
    error: str | None = None


def sweep(ground: Ground, *, seconds: float, sweeps: Sequence[Sweep] = SWEEPS) -> list[Swept]:
    """One piece of each sweep, the one that waited longest first, until the time is over."""
    end = time.monotonic() + seconds
    with ground.database.session() as session:
        known = {row.name: row for row in session.scalars(select(SweepPlace))}
    waited = sorted(sweeps, key=lambda each: known[each.name].swept_at.timestamp() if each.name in known else 0.0)
    swept: list[Swept] = []
    for each in waited:
        if time.monotonic() > end:
            break
        place = known[each.name].place if each.name in known else None
        done, place = _piece(ground, each, place)
        swept.append(done)
        _remember(ground, each, place)
    return swept


def would_free(ground: Ground, *, sweeps: Sequence[Sweep] = SWEEPS) -> list[Swept]:
    """What all sweeps together would free if they went on to their ends now. Changes nothing."""
    if not ground.dry_run:
        raise ValueError("would_free takes a dry run's ground")
    with ground.database.session() as session:
        known = {row.name: row.place for row in session.scalars(select(SweepPlace))}
    told = []
    for each in sweeps:
        place = known.get(each.name) if each.name in FORWARD else None
        total = Swept(each, Freed())
        for _ in range(MOST_PIECES):
            before = place
            done, place = _piece(ground, each, place)
            total = Swept(each, total.freed + done.freed, done.error)
            if place is None or place == before or done.error:
                break
        told.append(total)
    return told


FORWARD = frozenset({uploads.SWEEP.name, events.SWEEP.name})
"""Sweeps that only move forward: what lies behind their place was seen when its time had come, and is not again."""


def _piece(ground: Ground, each: Sweep, place: str | None) -> tuple[Swept, str | None]:
    try:
        freed, after = each.piece(ground, place)
    except Exception as error:
        # Whatever it is: an outage, a bug, one bad row. The others go on, and this one is tried again where it stood.
        log.exception("a sweep failed", sweep=each.name)
        return Swept(each, Freed(), type(error).__name__), place
    return Swept(each, freed), after


def _remember(ground: Ground, each: Sweep, place: str | None) -> None:
    statement = insert(SweepPlace).values(name=each.name, place=place)
    with ground.database.session() as session:
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={"place": place, "swept_at": func.clock_timestamp()}
            )
        )
