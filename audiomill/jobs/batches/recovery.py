"""Mending what broke: runs that failed, were cancelled, hung or fell silent, and runs that never came.

Whatever it was, the batch is given up: what is open goes back to its lane, and the lane rests for a while that doubles
while nothing of it gets done. Blame needs proof: an item is counted as crashed only when a run's process crashed by
itself, or hung, while the item was inside an engine call, or when a process of the engine's own crashed in a call for
it alone. Such an item is tried last and alone (audiomill/milling/stream.py); one that crashes `max_attempts` times so
fails. Nothing else ever fails an item as its customer's (docs/decisions/0013-blame-needs-proof.md).

What ends runs otherwise, again and again, blames nobody, but must end too: an item that was at work in three such runs
is a suspect and tried alone; alone, each further one is a hand-back of it, and those are bounded
(docs/decisions/0036-faults-of-ours-end-some-day.md).

Which process died, and ending it, is workers.py's part; Dagster's runs are the sensors'.
"""

from collections.abc import Collection
from dataclasses import dataclass

import structlog
from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import Session

from audiomill.database.tables import Batch, WorkItem
from audiomill.jobs import advance
from audiomill.jobs.batches.leases import Claim, fenced
from audiomill.jobs.batches.workers import Fate, RunProcess
from audiomill.jobs.items import HandedBack, back_to_lane, hand_back
from audiomill.jobs.states import OPEN_ITEMS
from audiomill.settings import Settings

ENGINE_CRASHED = (
    "The engine broke each time it worked on this input. Convert it to another format and order it again; "
    "if that fails too, write to us with the job id."
)


log = structlog.get_logger(__name__)

LONE_AFTER = 3
"""An item under which so many runs ended, nobody knows of what, is worked on alone: nothing else is lost with it."""


@dataclass(frozen=True)
class Owned:
    """A batch that a run owns: what is needed to learn what became of the run. `worker` is its process."""

    batch_id: str
    run_id: str
    worker: str | None


def owned_by(session: Session, run_id: str) -> Owned | None:
    """The batch that a run owns now."""
    row = session.execute(
        select(Batch.id, Batch.worker).where(Batch.run_id == run_id, Batch.state == "running")
    ).one_or_none()
    return None if row is None else Owned(row.id, run_id, row.worker)


def lapsed(session: Session, *, limit: int = 50) -> list[Owned]:
    """Batches whose runs fell silent, the longest silent first."""
    rows = session.execute(
        select(Batch.id, Batch.run_id, Batch.worker)
        .where(Batch.state == "running", Batch.lease_expires_at < func.clock_timestamp())
        .order_by(Batch.lease_expires_at)
        .limit(limit)
    )
    return [Owned(row.id, row.run_id or "", row.worker) for row in rows]


def expire(session: Session, owned: Owned, fate: Fate, settings: Settings) -> bool:
    """Take a batch from a run that fell silent. False when it has given it up, or spoken, meanwhile."""
    batch = session.scalar(
        select(Batch)
        .where(
            Batch.id == owned.batch_id,
            Batch.run_id == owned.run_id,
            Batch.state == "running",
            Batch.lease_expires_at < func.clock_timestamp(),
        )
        .with_for_update()
    )
    if batch is None:
        return False
    how = "died" if fate.died else "fell silent"
    _give_up(session, batch, f"The run {owned.run_id} {how}.", fate, settings)
    return True


def run_failed(
    session: Session, *, run_id: str, reason: str, settings: Settings, fate: Fate, asked_for: str | None = None
) -> str | None:
    """A run broke: its batch is given up. Returns the batch, None if the run owned none.

    `asked_for`: the batch for which it was asked, of a run that broke before it could claim.
    """
    batch = _of_run(session, run_id, asked_for)
    if batch is None:
        return None
    _give_up(session, batch, reason, fate, settings)
    return batch.id


def run_cancelled(session: Session, *, run_id: str, asked_for: str | None = None) -> str | None:
    """An operator cancelled a run: its open items go back to their lane, which need not rest. Returns the batch."""
    batch = _of_run(session, run_id, asked_for)
    if batch is None:
        return None
    _end(session, batch, f"The run {run_id} was cancelled")
    return batch.id


def never_came(session: Session, batch_id: str, settings: Settings) -> bool:
    """A run was asked for and did not come: the batch is given up. False when one has claimed it meanwhile."""
    batch = session.scalar(select(Batch).where(Batch.id == batch_id, Batch.state == "formed").with_for_update())
    if batch is None:
        return False
    _give_up(session, batch, "The run that was asked for never came.", Fate(), settings)
    return True


def unstarted(session: Session, settings: Settings) -> list[str]:
    """Batches for which a run was asked for long ago and that none has claimed, oldest first.

    All of them: those before may wait their turn rightly, and how many are formed is bounded by the slots.
    """
    rows = session.scalars(
        select(Batch.id)
        .where(
            Batch.state == "formed",
            Batch.requested_at
            < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, settings.lease.start_timeout_seconds),
        )
        .order_by(Batch.requested_at, Batch.id)
    )
    return list(rows)


def give_back(
    session: Session,
    claim: Claim,
    note: str,
    settings: Settings,
    *,
    hung: Collection[str] = (),
    suspects: Collection[str] = (),
    rest: bool = True,
) -> None:
    """A run gives its own batch up undone. `hung`: items inside engine calls that no longer advance: that is proof.

    `suspects`: items at which it broke though the machine is well: counted, and blamed of nothing.

    Once given back, doing it again changes nothing. Raises LeaseLost.
    """
    batch = session.scalar(select(Batch).where(Batch.id == claim.batch_id).with_for_update())
    if batch is not None and (batch.run_id, batch.fencing) == (claim.run_id, claim.fencing + 1):
        return
    fenced(session, claim)
    if batch is not None:
        fate = Fate(inside=frozenset(hung))
        if rest:
            _give_up(session, batch, note, fate, settings, suspects)
        else:
            _end(session, batch, note)


def engine_died(session: Session, claim: Claim, item_id: str, why: str, settings: Settings) -> HandedBack:
    """A process of the engine's own died while it worked on this item alone: proof, as when the run's process dies.

    It goes back for another run, or fails once it has crashed too often. Who killed the process is not known: one
    death is no reason to blame an input. Sent again, it changes nothing. Raises LeaseLost.
    """
    fenced(session, claim)
    advance.hold(session, [item_id])
    _blame(session, claim.batch_id, [item_id], settings)
    return hand_back(session, claim.batch_id, item_id, why, settings, interrupted=False)


def paused_lanes(session: Session) -> list[tuple[str, int, str]]:
    """(lane, breaks one after the other, what broke last) of lanes that rest now."""
    rows = session.execute(
        text("SELECT lane, breaks, note FROM lane_pauses WHERE until > clock_timestamp() ORDER BY lane")
    )
    return [(row.lane, row.breaks, row.note) for row in rows]


def _of_run(session: Session, run_id: str, asked_for: str | None) -> Batch | None:
    batch = session.scalar(select(Batch).where(Batch.run_id == run_id, Batch.state == "running").with_for_update())
    if batch is None and asked_for is not None:
        batch = session.scalar(select(Batch).where(Batch.id == asked_for, Batch.state == "formed").with_for_update())
    return batch


def _give_up(
    session: Session, batch: Batch, reason: str, fate: Fate, settings: Settings, suspects: Collection[str] = ()
) -> None:
    # What fails takes its siblings with it, in other batches too: that, and what goes back, is locked at once.
    begun = session.scalars(select(WorkItem.id).where(WorkItem.batch_id == batch.id, WorkItem.state == "running"))
    advance.hold(session, {*fate.inside, *begun}, batch_id=batch.id)
    _blame(session, batch.id, fate.inside, settings)
    running = session.execute(
        select(WorkItem.id, WorkItem.job_id, WorkItem.interruptions).where(
            WorkItem.batch_id == batch.id, WorkItem.state == "running"
        )
    ).all()
    interrupted = set(suspects)
    worker = RunProcess.parse(batch.worker)
    # Of another machine's process nothing can be learned: what was begun may be what it died of, each time.
    if fate.died or (worker is not None and not worker.here):
        interrupted |= {row.id for row in running} - fate.inside
    alone = running[0] if len(running) == 1 else None
    if alone is not None and alone.id in interrupted and alone.interruptions >= LONE_AFTER:
        # Once more it alone was at work: it rests, not its lane, and some day it is given up.
        became = hand_back(session, batch.id, alone.id, reason, settings)
        if became == "given_up":
            log.error("job given up: its runs end each time", job=alone.job_id, batch=batch.id, last=reason)
    else:
        _rest(session, batch, reason, settings)
    _end(session, batch, reason, interrupted)


def _blame(session: Session, batch_id: str, inside: Collection[str], settings: Settings) -> None:
    """Count a crash against the items that were inside an engine call; the first one, with others beside, is free."""
    if not inside:
        return
    rows = session.execute(
        text(
            "WITH inside AS MATERIALIZED (SELECT id FROM work_items WHERE id = ANY(:ids) AND batch_id = :batch "
            "AND state = 'running' ORDER BY id FOR NO KEY UPDATE) "
            "UPDATE work_items SET crashes = crashes + 1 WHERE id IN (SELECT id FROM inside) RETURNING id, crashes"
        ),
        {"ids": list(inside), "batch": batch_id},
    ).all()
    for row in sorted(rows, key=lambda row: str(row.id)):
        if row.crashes > settings.lease.max_attempts:
            advance.fail(session, row.id, code="engine_crashed", reason=ENGINE_CRASHED)


def _rest(session: Session, batch: Batch, reason: str, settings: Settings) -> None:
    """Let the lane rest. Runs of it that break during its rest broke by the same event, and do not count."""
    advanced = session.scalar(
        select(exists().where(WorkItem.batch_id == batch.id, WorkItem.state.in_(("complete", "failed"))))
    )
    session.execute(
        text(
            """
            INSERT INTO lane_pauses AS pause (lane, breaks, until, note)
            VALUES (:lane, 1, clock_timestamp() + make_interval(secs => :pause), :note)
            ON CONFLICT (lane) DO UPDATE SET
                breaks = CASE WHEN :advanced THEN 1 ELSE least(pause.breaks + 1, 30) END,
                until = clock_timestamp() + make_interval(secs => least(
                    :most, :pause * power(2, CASE WHEN :advanced THEN 0 ELSE least(pause.breaks, 30) END))),
                note = :note
            WHERE pause.until <= clock_timestamp()
            """
        ),
        {
            "lane": batch.lane,
            "pause": settings.lease.pause_seconds,
            "most": settings.lease.pause_most_seconds,
            "note": reason,
            "advanced": bool(advanced),
        },
    )


def _end(session: Session, batch: Batch, reason: str, interrupted: Collection[str] = ()) -> None:
    # A silent run that wakes up must find itself fenced out from this moment on.
    batch.fencing += 1
    session.flush()
    open_items = session.scalar(
        select(func.count()).where(WorkItem.batch_id == batch.id, WorkItem.state.in_(OPEN_ITEMS))
    )
    back_to_lane(session, batch.id, interrupted=interrupted)
    batch.state = "cancelled" if open_items else "closed"
    batch.note = f"{reason} {'What was open went back to its lane.' if open_items else 'Nothing was left open.'}"
    batch.lease_expires_at = None
    batch.finished_at = func.clock_timestamp()
