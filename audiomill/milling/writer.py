"""The run's own line to the database: fenced writes that outlast its troubles, the heartbeat, and the end of a run that
hangs.

What keeps a lease is advance, not life: the heartbeat renews it as long as something advances within a limit that grows
with the sound in work. When nothing does, the batch is given back and the process ends, whatever hangs in it.
"""

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self, TypeVar

import psutil
import structlog
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.database.retrying import persistently
from audiomill.database.tables import Artifact
from audiomill.engines.registry import core_budget
from audiomill.errors import CustomerError, DatabaseUnavailable, LeaseLost, OperatorError
from audiomill.faults import told, told_with_causes
from audiomill.jobs.batches import kept_units, leases, recovery, working
from audiomill.jobs.batches.kept_units import UnitRecord
from audiomill.jobs.batches.leases import Claim
from audiomill.jobs.batches.workers import CallNotes, end_this_process
from audiomill.jobs.batches.working import ItemResult
from audiomill.settings import Settings

PROGRESS_SECONDS = 2.0
"""A customer sees progress this often at most: each sight of it is a transaction."""

PROGRESS_SHARE = 0.01
"""And only when so much more is done: however long a recording is, it makes a hundred events at most."""

Value = TypeVar("Value")
log = structlog.get_logger(__name__)


class BatchWriter:
    """Writes what becomes of a batch's items. While it is entered, its heartbeat keeps the lease.

    Every method raises LeaseLost when the batch is another run's, DatabaseUnavailable when the database broke the write
    off for longer than the lease lives, OperatorError when it refused it. Each write is one transaction and may be sent
    twice: the guards in audiomill.jobs.batches.working let only the first count.
    """

    def __init__(
        self,
        database: Database,
        claim: Claim,
        settings: Settings,
        *,
        end: Callable[[], object] = end_this_process,
        well: Callable[[], bool] = lambda: False,
    ) -> None:
        """`end` ends this process: called when a thread still hangs after the batch is another's.

        `well`: whether store and disk are: only then is a hang outside of engine calls counted against anything.
        """
        self._database = database
        self._claim = claim
        self._settings = settings
        self._end = end
        self._well = well
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._told: dict[str, tuple[float, float]] = {}
        self._notes = CallNotes(settings, claim.run_id)
        self._inside: frozenset[str] = frozenset()
        self._in_work: set[str] = set()
        self._advanced_at = time.monotonic()
        self._limit_seconds = settings.lease.load_seconds
        self.unwanted: frozenset[str] = frozenset()
        """Items in work whose jobs were cancelled meanwhile."""

    def __enter__(self) -> Self:
        self._notes.open()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._notes.close()
        # The thread may hang in a write; it is a daemon, and what it would write is fenced.
        self._thread.join(self._settings.lease.grace_seconds)

    def check(self) -> None:
        """Raises LeaseLost when the batch is another's, or was given back."""
        if self._lost.is_set():
            raise LeaseLost(f"The run {self._claim.run_id} no longer owns the batch {self._claim.batch_id}.")

    def advanced(self, longest_seconds: float | None = None) -> None:
        """Something was done. `longest_seconds`: of the longest sound in work now, which may take its time."""
        self._advanced_at = time.monotonic()
        if longest_seconds is not None:
            lease = self._settings.lease
            self._limit_seconds = max(lease.stall_seconds, lease.stall_factor * longest_seconds)

    def inside(self, item_ids: Collection[str]) -> None:
        """Note which items are inside engine calls now: before the first call, and whenever it changes."""
        now = frozenset(item_ids)
        if now != self._inside:
            self._notes.inside(now)
            began = time.monotonic()
            for item_id in now - self._inside:
                # What is over in a moment is told as complete: no transaction says how far it is before.
                self._told.setdefault(item_id, (began, 0.0))
            self._inside = now

    def begin(self, item_ids: Sequence[str]) -> dict[str, int]:
        """Items still wanted, with the number of this attempt."""
        begun = self._write(lambda session: working.begin(session, self._claim, item_ids))
        self._in_work.update(begun)
        return begun

    def find_artifact(self, key: str) -> Artifact | None:
        """An earlier result of the same making."""
        return self._write(lambda session: working.find_artifact(session, key))

    def find_units(self, keys: Collection[str]) -> dict[str, str]:
        """Where results of units lie that were kept, by key."""
        return self._write(lambda session: kept_units.find_units(session, keys))

    def keep_units(self, workspace_id: str, records: Sequence[UnitRecord]) -> None:
        """Note results of units."""
        self._write(lambda session: kept_units.keep_units(session, self._claim, workspace_id, records))

    def complete(self, item_id: str, job_id: str, result: ItemResult) -> None:
        """End an item well."""
        if self._write(lambda session: working.complete(session, self._claim, item_id, result)):
            log.info("job complete", job=job_id, batch=self._claim.batch_id)
        else:
            log.info("result dropped: the job was cancelled", job=job_id, batch=self._claim.batch_id)
        self._in_work.discard(item_id)

    def fail(self, item_id: str, job_id: str, error: CustomerError) -> None:
        """End an item with a reason."""
        # The cause is the operator's part: the customer reads the sentence alone.
        said = None if error.__cause__ is None else told(error.__cause__)
        log.info("job failed", job=job_id, batch=self._claim.batch_id, code=error.code, cause=said)
        self._write(lambda session: working.fail_item(session, self._claim, item_id, error))
        self._in_work.discard(item_id)

    def hand_back(self, item_id: str, job_id: str, error: Exception) -> None:
        """Give one item back, through a fault of ours that is about it alone; it waits before it is tried again.

        Past a bound of hand-backs its job ends, as our fault.
        """
        why = told_with_causes(error)
        became = self._write(lambda session: working.hand_back(session, self._claim, item_id, why, self._settings))
        if became == "given_up":
            log.error("job given up: a fault of ours that stays", job=job_id, batch=self._claim.batch_id, error=why)
        else:
            log.warning("job handed back: a fault of ours", job=job_id, batch=self._claim.batch_id, error=why)
        self._in_work.discard(item_id)

    def crashed(self, item_id: str, job_id: str, error: Exception) -> None:
        """A process of the engine's own died while it worked on this item alone: counted, and tried by another run."""
        why = told_with_causes(error)
        log.warning("engine's process died", job=job_id, batch=self._claim.batch_id, error=why)
        self._write(lambda session: recovery.engine_died(session, self._claim, item_id, why, self._settings))
        self._in_work.discard(item_id)

    def give_back(self, note: str, *, rest: bool = True, suspects: Collection[str] = ()) -> None:
        """Give the batch up undone, without blame, before anything is waited for. Never raises but LeaseLost.

        `suspects`: items at which this run broke though the machine is well.

        From now on `check` raises LeaseLost, and what still hangs in this process after a while ends with it.
        """
        if self._lost.is_set():
            return
        seconds = self._settings.lease.grace_seconds / 2
        try:
            self._write(
                lambda session: recovery.give_back(
                    session, self._claim, note, self._settings, rest=rest, suspects=suspects
                ),
                seconds,
            )
        except OperatorError as error:
            # The lease lapses by itself: without a heartbeat, and with no proof against anybody.
            log.warning("batch not given back", batch=self._claim.batch_id, error=told_with_causes(error))
        self._notes.close()
        self._lost.set()

    def close(self) -> None:
        """Give the batch up, worked off."""
        self._write(lambda session: leases.close(session, self._claim))

    def persistently(self, action: Callable[[Session], Value]) -> Value:
        """The value of a transaction that only reads."""
        return self._write(action)

    def progress(self, item_id: str, share: float) -> None:
        """Tell how far an item is; what comes too soon after the last, or says little more, is left out."""
        now = time.monotonic()
        told_at, told_share = self._told.get(item_id, (-math.inf, 0.0))
        if share > told_share:
            self._advanced_at = now
        if now - told_at < PROGRESS_SECONDS or share - told_share < PROGRESS_SHARE:
            return
        self._told[item_id] = (now, share)
        self._write(lambda session: working.progressed(session, self._claim, item_id, share))

    def _write(self, action: Callable[[Session], Value], seconds: float | None = None) -> Value:
        return persistently(
            self._database, action, seconds=self._settings.lease.ttl_seconds if seconds is None else seconds
        )

    def _live(self) -> None:
        self._beat()
        # The batch is another's now. Whoever still works on it ends by itself, or with this process.
        if not self._stop.wait(self._settings.lease.grace_seconds) and self._lost.is_set():
            log.error("run hangs: its process is ended", run=self._claim.run_id, batch=self._claim.batch_id)
            self._notes.close()
            self._end()

    def _beat(self) -> None:
        period = self._settings.lease.heartbeat_seconds
        looked = kept = time.monotonic()
        while not self._stop.wait(period) and not self._lost.is_set():
            now = time.monotonic()
            # While this process was stopped, or waited for the database here, nothing could advance.
            self._advanced_at += max(0.0, now - looked - 2 * period)
            looked = now
            try:
                if self._stalls(now):
                    self._stalled()
                    return
                with self._database.session() as session:
                    self.unwanted |= leases.heartbeat(
                        session, self._claim, self._settings, in_work=tuple(self._in_work)
                    )
                kept = time.monotonic()
            except LeaseLost:
                self._lost.set()
            except DatabaseUnavailable:
                if time.monotonic() - kept > self._settings.lease.ttl_seconds:
                    self._lost.set()
            except Exception:
                # Broken off by the database, most likely; without a heartbeat the run must not go on for long.
                log.exception("heartbeat broke", batch=self._claim.batch_id)
                if time.monotonic() - kept > self._settings.lease.ttl_seconds:
                    self._lost.set()

    def _stalls(self, now: float) -> bool:
        if now - self._advanced_at < self._limit_seconds:
            return False
        family = {process.pid for process in psutil.Process().children(recursive=True)} | {psutil.Process().pid}
        if core_budget(self._settings).only_waits(family):
            # Others compute. One that hangs loses its own lease, and its cores with its process.
            self._advanced_at = now
            return False
        return True

    def _is_well(self) -> bool:
        answers: list[bool] = []
        asking = threading.Thread(target=lambda: answers.append(self._well()), name="is-it-well", daemon=True)
        asking.start()
        asking.join(self._settings.lease.grace_seconds / 2)
        return answers == [True]

    def _stalled(self) -> None:
        inside = self._inside
        log.error("run hangs: nothing advances", batch=self._claim.batch_id, run=self._claim.run_id, inside=len(inside))
        note = f"The run {self._claim.run_id} hung: nothing advanced for {self._limit_seconds:.0f} s."
        # Our own code, or the store: which, the store says, if it answers.
        suspects = () if inside or not self._is_well() else tuple(self._in_work)
        try:
            self._write(
                lambda session: recovery.give_back(
                    session, self._claim, note, self._settings, hung=inside, suspects=suspects
                ),
                self._settings.lease.ttl_seconds,
            )
        except (OperatorError, LeaseLost) as error:
            log.warning("batch not given back", batch=self._claim.batch_id, error=told_with_causes(error))
        self._notes.close()
        self._lost.set()
