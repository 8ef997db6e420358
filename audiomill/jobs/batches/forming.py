"""Forming batches: which work items run together. Starting runs for them is the sensors' part.

The room is looked at first: each resource class may have `queue_factor` times its slots waiting. Only what fits in is
then gathered, lane by lane as their turns come (turns.py), fairly between workspaces (gathering.py); so a tick costs
what it forms, not what waits, and nothing else is locked or sorted. Sized by backlog: a lane's backlog is shared out
over the slots of its class, within `min_items` and `max_items`, and within what an engine does in `max_engine_seconds`.

Where a class has several slots, one is kept from long items (lanes.py): however many of them wait, what is short or of
medium length, the ordinary file, goes on beside them.
"""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from audiomill.jobs.batches import turns
from audiomill.jobs.batches.gathering import Gathered, backlog, gather
from audiomill.jobs.batches.lanes import LONG, SHORT
from audiomill.jobs.batches.turns import Lane, Turns
from audiomill.settings import Settings

_LOCK = 7_236_120_002

_LOAD = text(
    "SELECT resource_class, count(*) FILTER (WHERE state = 'formed') AS waiting, count(*) AS open, "
    "count(*) FILTER (WHERE starts_with(reverse(lane), reverse('|' || :long))) AS long "
    "FROM batches WHERE state IN ('formed', 'running') GROUP BY resource_class"
)

# What another transaction (a cancellation) holds is passed over this time.
_FORM = text(
    """
    WITH held AS (
        SELECT id, audio_seconds FROM work_items WHERE id = ANY(:ids) AND state = 'queued'
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ),
    formed AS (
        INSERT INTO batches (id, lane, stage, engine, model, resource_class, item_count, audio_seconds)
        SELECT :batch, :lane, :stage, :engine, :model, :resource_class, count(*), sum(audio_seconds)
        FROM held HAVING count(*) > 0
        RETURNING id
    ),
    moved AS (
        UPDATE work_items SET state = 'batched', batch_id = :batch FROM held WHERE work_items.id = held.id
    )
    SELECT id FROM formed
    """
)


@dataclass(frozen=True)
class StartableBatch:
    """A batch without a run. Its id is the run key too: a run is asked for once, and Dagster starts a key once."""

    id: str
    stage: str
    resource_class: str
    engine: str


@dataclass
class _Room:
    """What one resource class can take: so many batches, so many of them of long items.

    idle: a slot was free when the tick began, so nobody need wait.
    """

    slots: int
    batches: int
    long_batches: int
    idle: bool

    def slots_for(self, lane: Lane) -> int:
        """How many runs of the lane there may be at a time."""
        return max(1, self.slots - 1) if lane.length_class == LONG else self.slots

    def takes(self, lane: Lane) -> bool:
        """Whether a batch of the lane may be formed."""
        return lane.length_class != LONG or self.long_batches > 0

    def taken(self, lane: Lane) -> None:
        """A batch of the lane was formed."""
        self.batches -= 1
        if lane.length_class == LONG:
            self.long_batches -= 1


def form_batches(session: Session, settings: Settings, *, limit: int = 50) -> list[str]:
    """Form up to `limit` batches and return their ids. Empty when another writer is forming at this moment."""
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
        return []
    rooms = _rooms(session, settings)
    if not rooms:
        return []
    lines = turns.waiting(session, list(rooms), lower_tier_every=settings.batching.lower_tier_every)
    former = _Former(session, settings, session.execute(select(func.clock_timestamp())).scalar_one())
    formed: list[str] = []
    # One batch of each class in turn, so that a full limit serves all classes.
    while len(formed) < limit:
        this_round: list[str] = []
        for name, line in lines.items():
            room = rooms[name]
            if room.batches > 0 and len(formed) + len(this_round) < limit and (batch_id := former.next(line, room)):
                this_round.append(batch_id)
        if not this_round:
            break
        formed += this_round
    turns.remember(session, lines)
    return formed


def _rooms(session: Session, settings: Settings) -> dict[str, _Room]:
    """The classes that can take batches."""
    load = {row.resource_class: row for row in session.execute(_LOAD, {"long": LONG})}
    cpu = settings.cpu
    rooms = {}
    for name, slots in (("cpu", cpu.cpu_runs), ("gpu", cpu.gpu_runs), ("remote", cpu.remote_runs)):
        row = load.get(name)
        waiting, open_batches, long = (row.waiting, row.open, row.long) if row is not None else (0, 0, 0)
        batches = slots * settings.batching.queue_factor - waiting
        # Long ones are not formed ahead of their time: what waits in Dagster's queue takes the next slot, whichever.
        room = _Room(slots, batches, batches if slots == 1 else slots - 1 - long, idle=open_batches < slots)
        if room.batches > 0:
            rooms[name] = room
    return rooms


class _Former:
    """Forms one batch after another within a tick."""

    def __init__(self, session: Session, settings: Settings, now: datetime) -> None:
        self._session, self._batching, self._now = session, settings.batching, now
        self._sizes: dict[str, int] = {}

    def next(self, line: Turns, room: _Room) -> str | None:
        """The id of a batch of the lane whose turn it is; None when no lane of the class has one ready."""
        while (lane := line.next(room.takes)) is not None:
            gathered = gather(
                self._session,
                lane.name,
                after=lane.last_workspace,
                most_items=self._size(lane, room),
                most_seconds=self._batching.max_audio_seconds,
                most_expected_seconds=self._batching.max_engine_seconds,
            )
            batch_id = None
            if gathered.item_ids and (room.idle or self._is_ready(gathered)):
                batch_id = self._formed(lane, gathered)
            if not gathered.item_ids:
                line.looked_past(lane, gathered.last_workspace)
            if batch_id is not None:
                lane.last_workspace = gathered.last_workspace
                line.served(lane)
                room.taken(lane)
                return batch_id
            line.passed_over(lane)
        return None

    def _is_ready(self, gathered: Gathered) -> bool:
        """On a busy class a batch waits until it is full or old."""
        batching = self._batching
        return (
            len(gathered.item_ids) >= batching.max_items
            or gathered.audio_seconds >= batching.max_audio_seconds
            or gathered.expected_seconds >= batching.max_engine_seconds
            or (
                gathered.oldest is not None
                and gathered.oldest <= self._now - timedelta(seconds=batching.max_wait_seconds)
            )
        )

    def _size(self, lane: Lane, room: _Room) -> int:
        """Items of a batch: the backlog shared out over the slots, but not into crumbs. The same for a whole tick."""
        if lane.name not in self._sizes:
            most, slots = self._batching.max_items, room.slots_for(lane)
            waiting = backlog(self._session, lane.name, most=most * slots)
            # What takes long is worth a run of its own.
            fewest = self._batching.min_items if lane.length_class == SHORT else 1
            batches = max(1, math.ceil(waiting / most), min(slots, waiting // fewest))
            self._sizes[lane.name] = max(1, math.ceil(waiting / batches))
        return self._sizes[lane.name]

    def _formed(self, lane: Lane, gathered: Gathered) -> str | None:
        """Lock what was gathered and is still free, and make it a batch. None when nothing was."""
        batch_id: str | None = self._session.scalar(
            _FORM,
            {
                "batch": f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}",
                "ids": list(gathered.item_ids),
                "lane": lane.name,
                "stage": lane.stage,
                "engine": lane.engine,
                "model": lane.model,
                "resource_class": lane.resource_class,
            },
        )
        return batch_id


def startable(session: Session, *, limit: int = 50) -> list[StartableBatch]:
    """Batches that are formed and for which no run was asked yet, oldest first."""
    rows = session.execute(
        text(
            "SELECT id, stage, resource_class, engine FROM batches "
            "WHERE state = 'formed' AND requested_at IS NULL ORDER BY created_at, id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [StartableBatch(*row) for row in rows]


def mark_requested(session: Session, batch_ids: Sequence[str]) -> None:
    """Note that a run was asked for, so that the next tick does not ask again."""
    session.execute(
        text("UPDATE batches SET requested_at = clock_timestamp() WHERE id = ANY(:ids) AND state = 'formed'"),
        {"ids": list(batch_ids)},
    )


def anything_queued(session: Session) -> bool:
    """Whether an item waits for a batch: for a slot, or for company."""
    return bool(session.scalar(text("SELECT EXISTS (SELECT 1 FROM work_items WHERE state = 'queued')")))
