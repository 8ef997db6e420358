"""What the next batch of a lane is made of: up to so many items, fair between workspaces. Reads; locks nothing.

Workspaces take turns, one item each, beginning after the one that was served last; each gives its oldest first. The
cost is that of what is gathered: no more workspaces are looked at than items are wanted, and of none more items than
its turns come to.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

# A loose index scan: one look-up for each workspace, however much it has waiting.
_WORKSPACES = text(
    """
    WITH RECURSIVE heads AS (
        (SELECT workspace_id, 1 AS place FROM work_items
         WHERE state = 'queued' AND lane = :lane AND workspace_id > :after
         ORDER BY workspace_id, created_at, id LIMIT 1)
        UNION ALL
        SELECT following.workspace_id, heads.place + 1 FROM heads, LATERAL (
            SELECT workspace_id FROM work_items
            WHERE state = 'queued' AND lane = :lane AND workspace_id > heads.workspace_id
            ORDER BY workspace_id, created_at, id LIMIT 1
        ) AS following
        WHERE heads.place < :limit
    )
    SELECT workspace_id FROM heads ORDER BY place
    """
)

_OLDEST = text(
    """
    SELECT item.id, wanted.workspace_id, item.audio_seconds, item.expected_seconds, item.created_at
    FROM unnest(CAST(:workspaces AS text[])) AS wanted (workspace_id)
    CROSS JOIN LATERAL (
        SELECT id, audio_seconds, expected_seconds, created_at FROM work_items
        WHERE state = 'queued' AND lane = :lane AND workspace_id = wanted.workspace_id
            -- What was handed back rests for a while. Looked at here, where many that rest cost one walk over them.
            AND (available_at IS NULL OR available_at <= statement_timestamp())
        ORDER BY created_at, id OFFSET :skip LIMIT :depth
    ) AS item
    """
)

_BACKLOG = text(
    "SELECT count(*) FROM (SELECT 1 FROM work_items WHERE state = 'queued' AND lane = :lane LIMIT :most) AS waiting"
)


@dataclass(frozen=True)
class Gathered:
    """Items for one batch. `last_workspace` is where the next one begins after."""

    item_ids: tuple[str, ...]
    audio_seconds: float
    expected_seconds: float
    oldest: datetime | None
    last_workspace: str


@dataclass(frozen=True)
class _Item:
    id: str
    workspace_id: str
    audio_seconds: float
    expected_seconds: float
    created_at: datetime


def backlog(session: Session, lane: str, *, most: int) -> int:
    """How many items wait in the lane; counting ends at `most`."""
    return int(session.scalar(_BACKLOG, {"lane": lane, "most": most}) or 0)


def gather(
    session: Session, lane: str, *, after: str, most_items: int, most_seconds: float, most_expected_seconds: float
) -> Gathered:
    """The next items of the lane. Cut by count, by sound and by the engine's time; what goes beyond is the last one."""
    workspaces = _in_turn(session, lane, after, most_items)
    taken: list[_Item] = []
    seconds = expected = 0.0
    for item in _dealt(session, lane, workspaces, most_items):
        if len(taken) == most_items or seconds >= most_seconds or expected >= most_expected_seconds:
            break
        taken.append(item)
        seconds += item.audio_seconds
        expected += item.expected_seconds
    last = taken[-1].workspace_id if taken else (workspaces[-1] if workspaces else after)
    oldest = min((item.created_at for item in taken), default=None)
    return Gathered(tuple(item.id for item in taken), seconds, expected, oldest, last)


def _in_turn(session: Session, lane: str, after: str, most: int) -> list[str]:
    """Up to `most` workspaces with something waiting, beginning after one and coming round to it again."""
    found = list(session.scalars(_WORKSPACES, {"lane": lane, "after": after, "limit": most}))
    if after and len(found) < most:
        rest = session.scalars(_WORKSPACES, {"lane": lane, "after": "", "limit": most - len(found)})
        # The database's order of texts need not be Python's: what was found already tells where the round ends.
        known = set(found)
        found += [workspace for workspace in rest if workspace not in known]
    return found


def _dealt(session: Session, lane: str, workspaces: list[str], most: int) -> Iterator[_Item]:
    """Items in the order of their turns. Where one workspace has too few, the others are asked for more."""
    hands: dict[str, list[_Item]] = {workspace: [] for workspace in workspaces}
    asked, wanted, skip = workspaces, most, 0
    while asked and wanted > 0:
        depth = math.ceil(wanted / len(asked))
        rows = session.execute(_OLDEST, {"workspaces": asked, "lane": lane, "skip": skip, "depth": depth})
        for row in rows:
            hands[row.workspace_id].append(_Item(*row))
            wanted -= 1
        skip += depth
        asked = [workspace for workspace in asked if len(hands[workspace]) == skip]
    for turn in range(max(map(len, hands.values()), default=0)):
        for hand in hands.values():
            if turn < len(hand):
                yield hand[turn]
