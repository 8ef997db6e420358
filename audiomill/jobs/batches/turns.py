"""Whose turn it is: which tier, then which lane. What is taken from a lane, and for whom, is in gathering.py.

Tiers: the highest that waits goes first, and leaves every `lower_tier_every`-th batch to those below it, which do the
same among themselves; so a sustained higher tier cannot starve a lower one. Lanes of a tier take turns: the one that
was served longest ago is next. Both are remembered in `turns`, for most ticks form one batch only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.database.tables import Turn

_NEVER = datetime.fromtimestamp(0, UTC)

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
        """`contested`: batches of this class that were formed while several tiers waited that there was room for."""
        self._lanes = sorted(lanes, key=lambda lane: (lane.served_at or _NEVER, lane.name))
        self._lower_tier_every = lower_tier_every
        self._several_tiers = False
        self.contested = contested
        self.changed: dict[str, Lane] = {}

    def next(self, takes: Callable[[Lane], bool]) -> Lane | None:
        """The lane whose turn it is among those that there is room for; None when there is no such lane.

        The others are left out before tiers are compared: a lower tier whose turn came while its lane had no room would
        keep it, uncounted, until there is, and then have it each time.
        """
        lanes = [lane for lane in self._lanes if takes(lane)]
        if not lanes:
            return None
        tiers = sorted({lane.tier for lane in lanes}, reverse=True)
        tier = tiers[0]
        self._several_tiers = len(tiers) > 1
        if self._several_tiers:
            tier = tiers[min(levels_down(self.contested + 1, self._lower_tier_every), len(tiers) - 1)]
        return next(lane for lane in lanes if lane.tier == tier)

    def served(self, lane: Lane) -> None:
        """A batch of the lane that was next was formed: it goes to the end of the line."""
        if self._several_tiers:
            self.contested += 1
        lane.served_at = datetime.now(UTC)
        self.changed[lane.name] = lane
        self._lanes.remove(lane)
        self._lanes.append(lane)

    def passed_over(self, lane: Lane) -> None:
        """Nothing of the lane can be formed in this tick."""
        self._lanes.remove(lane)

    def looked_past(self, lane: Lane, workspace: str) -> None:
        """Of all workspaces up to this one nothing may be batched yet: the next look begins after it.

        Remembered, or the same ones would be looked at each time, and those behind them never.
        """
        if lane.last_workspace != workspace:
            lane.last_workspace = workspace
            self.changed[lane.name] = lane


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
    rows: list[dict[str, Any]] = [
        {"queue": name, "contested": each.contested, "last_workspace": None, "served_at": datetime.now(UTC)}
        for name, each in turns.items()
    ]
    for each in turns.values():
        rows += [
            {
                "queue": lane.name,
                "contested": 0,
                "last_workspace": lane.last_workspace,
                # One that was looked at in vain keeps its place among the lanes.
                "served_at": lane.served_at or _NEVER,
            }
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
                "served_at": statement.excluded.served_at,
            },
        )
    )
