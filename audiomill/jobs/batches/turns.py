"""Whose turn it is: which tier, then which lane. What is taken from a lane, and for whom, is in gathering.py.

Tiers: the highest that waits goes first, and leaves every `lower_tier_every`-th batch to those below it, which do the
same among themselves; so a sustained higher tier cannot starve a lower one. Lanes of a tier take turns: the one that
was served longest ago is next. Both are remembered in `turns`, for most ticks form one batch only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.database.tables import Turn

_NEVER = datetime.min.replace(tzinfo=UTC)

# A loose index scan: one look-up for each lane, however much waits in it.
_WAITING = text(
    """
    WITH RECURSIVE heads AS (
        (SELECT lane, resource_class, tier, length_class, stage, engine, model FROM work_items
         WHERE state = 'queued' ORDER BY lane, workspace_id, created_at, id LIMIT 1)
        UNION ALL
        SELECT following.* FROM heads, LATERAL (
            SELECT lane, resource_class, tier, length_class, stage, engine, model FROM work_items
            WHERE state = 'queued' AND lane > heads.lane ORDER BY lane, workspace_id, created_at, id LIMIT 1
        ) AS following
    )
    SELECT heads.*, coalesce(turns.last_workspace, '') AS last_workspace, turns.served_at
    FROM heads LEFT JOIN turns ON turns.queue = heads.lane
    WHERE heads.resource_class = ANY(:classes)
        -- A lane whose runs break rests for a while (recovery.py).
        AND NOT EXISTS (SELECT FROM lane_pauses WHERE lane_pauses.lane = heads.lane AND until > clock_timestamp())
    """
)


@dataclass
class Lane:
    """A lane in which something waits. `last_workspace` was served last: the next one begins after it."""

    name: str
    resource_class: str
    tier: int
    length_class: str
    stage: str
    engine: str
    model: str | None
    last_workspace: str
    served_at: datetime | None


class Turns:
    """The lanes of one resource class in the order of their turns, within one tick."""

    def __init__(self, lanes: Sequence[Lane], *, contested: int, lower_tier_every: int) -> None:
        """`contested`: batches of this class that were formed while several tiers waited."""
        self._lanes = sorted(lanes, key=lambda lane: (lane.served_at or _NEVER, lane.name))
        self._lower_tier_every = lower_tier_every
        self.contested = contested
        self.changed: dict[str, Lane] = {}

    def next(self) -> Lane | None:
        """The lane whose turn it is; None when all were dropped."""
        if not self._lanes:
            return None
        tiers = self._tiers()
        tier = tiers[0]
        if len(tiers) > 1:
            tier = tiers[min(levels_down(self.contested + 1, self._lower_tier_every), len(tiers) - 1)]
        return next(lane for lane in self._lanes if lane.tier == tier)

    def served(self, lane: Lane) -> None:
        """A batch of the lane was formed: it goes to the end of the line."""
        if len(self._tiers()) > 1:
            self.contested += 1
        lane.served_at = datetime.now(UTC)
        self.changed[lane.name] = lane
        self._lanes.remove(lane)
        self._lanes.append(lane)

    def passed_over(self, lane: Lane) -> None:
        """Nothing of the lane can be formed in this tick."""
        self._lanes.remove(lane)

    def _tiers(self) -> list[int]:
        return sorted({lane.tier for lane in self._lanes}, reverse=True)


def levels_down(number: int, every: int) -> int:
    """How many tiers below the highest the `number`-th batch goes: 0, 0, 0, 1, 0, 0, 0, 1, … and 2 at each 16th."""
    level = 0
    while number % every == 0:
        number //= every
        level += 1
    return level


def waiting(session: Session, classes: Sequence[str], *, lower_tier_every: int) -> dict[str, Turns]:
    """The turns of the classes in which something waits."""
    lanes: dict[str, list[Lane]] = {}
    for row in session.execute(_WAITING, {"classes": list(classes)}):
        lane = Lane(*row)
        lanes.setdefault(lane.resource_class, []).append(lane)
    counts = {
        row.queue: row.contested
        for row in session.execute(
            text("SELECT queue, contested FROM turns WHERE queue = ANY(:classes)"), {"classes": list(lanes)}
        )
    }
    return {
        name: Turns(found, contested=counts.get(name, 0), lower_tier_every=lower_tier_every)
        for name, found in lanes.items()
    }


def remember(session: Session, turns: dict[str, Turns]) -> None:
    """Keep whose turn comes next."""
    rows = [{"queue": name, "contested": each.contested, "last_workspace": None} for name, each in turns.items()]
    for each in turns.values():
        rows += [
            {"queue": lane.name, "contested": 0, "last_workspace": lane.last_workspace}
            for lane in each.changed.values()
        ]
    if not any(each.changed for each in turns.values()):
        return
    statement = insert(Turn).values(rows)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["queue"],
            set_={
                "contested": statement.excluded.contested,
                "last_workspace": statement.excluded.last_workspace,
                "served_at": func.clock_timestamp(),
            },
        )
    )
