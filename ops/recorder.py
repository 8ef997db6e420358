"""The run's own line to the database: fenced writes that outlast a short absence of the server, and the heartbeat."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import structlog
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from audiomill.database.connection import Database
from audiomill.database.tables import Artifact
from audiomill.errors import CustomerError, DatabaseUnavailable, LeaseLost
from audiomill.faults import told
from audiomill.jobs import leases, work
from audiomill.jobs.leases import Claim
from audiomill.jobs.work import ItemResult
from audiomill.settings import Settings

PROGRESS_SECONDS = 2.0
"""A customer sees progress this often at most: each sight of it is a transaction."""

PROGRESS_SHARE = 0.01
"""And only when so much more is done: however long a recording is, it makes a hundred events at most."""

Value = TypeVar("Value")
log = structlog.get_logger(__name__)


class Recorder:
    """Writes what becomes of a batch's items. While it is entered, its heartbeat keeps the lease.

    Every method raises LeaseLost when the batch is another run's, and DatabaseUnavailable when the server stayed away
    longer than the lease lives. Each write is one transaction and may be sent twice: the guards in audiomill.jobs.work
    let only the first count.
    """

    def __init__(self, database: Database, claim: Claim, settings: Settings) -> None:
        self._database = database
        self._claim = claim
        self._settings = settings
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._told: dict[str, tuple[float, float]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raises LeaseLost when the heartbeat found that the batch is another's."""
        if self._lost.is_set():
            raise LeaseLost(f"The run {self._claim.run_id} no longer owns the batch {self._claim.batch_id}.")

    def begin(self, item_ids: Sequence[str]) -> dict[str, int]:
        """Items still wanted, with the number of this attempt."""
        return self._write(lambda session: work.begin(session, self._claim, item_ids))

    def find_artifact(self, key: str) -> Artifact | None:
        """An earlier result of the same making."""
        return self._write(lambda session: work.find_artifact(session, key))

    def complete(self, item_id: str, job_id: str, result: ItemResult) -> None:
        """End an item well."""
        if self._write(lambda session: work.complete(session, self._claim, item_id, result)):
            log.info("job complete", job=job_id, batch=self._claim.batch_id)
        else:
            log.info("result dropped: the job was cancelled", job=job_id, batch=self._claim.batch_id)

    def fail(self, item_id: str, job_id: str, error: CustomerError) -> None:
        """End an item with a reason."""
        # The cause is the operator's part: the customer reads the sentence alone.
        said = None if error.__cause__ is None else told(error.__cause__)
        log.info("job failed", job=job_id, batch=self._claim.batch_id, code=error.code, cause=said)
        self._write(lambda session: work.fail_item(session, self._claim, item_id, error))

    def give_back(self, note: str) -> None:
        """Give the batch up undone, without blame."""
        self._write(lambda session: leases.give_back(session, self._claim, note))

    def progress(self, item_id: str, share: float) -> None:
        """Tell how far an item is; what comes too soon after the last, or says little more, is left out."""
        now = time.monotonic()
        told_at, told_share = self._told.get(item_id, (-math.inf, 0.0))
        if now - told_at < PROGRESS_SECONDS or share - told_share < PROGRESS_SHARE:
            return
        self._told[item_id] = (now, share)
        self._write(lambda session: work.progressed(session, self._claim, item_id, share))

    def _write(self, action: Callable[[Session], Value]) -> Value:
        for attempt in Retrying(
            retry=retry_if_exception_type(DatabaseUnavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=stop_after_delay(self._settings.lease.ttl_seconds),
            reraise=True,
        ):
            with attempt, self._database.session() as session:
                return action(session)
        raise AssertionError("tenacity returns or raises")

    def _beat(self) -> None:
        kept = time.monotonic()
        while not self._stop.wait(self._settings.lease.heartbeat_seconds):
            try:
                with self._database.session() as session:
                    leases.heartbeat(session, self._claim, self._settings)
                kept = time.monotonic()
            except LeaseLost:
                self._lost.set()
                return
            except DatabaseUnavailable:
                if time.monotonic() - kept > self._settings.lease.ttl_seconds:
                    self._lost.set()
                    return
            except Exception:
                # Without a heartbeat the run must not go on as if it owned the batch.
                log.exception("heartbeat broke", batch=self._claim.batch_id)
                self._lost.set()
                return
