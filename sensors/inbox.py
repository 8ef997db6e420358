"""The inbox: what is dropped into it becomes jobs. A local one is listened to; any is swept at intervals.

Here is when one looks, and where; what becomes of an object is `audiomill/inbox/sweep.py`'s.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, sensor

from audiomill.database.connection import Database
from audiomill.inbox.sweep import InboxTally, take_keys, take_page
from audiomill.inbox.watch import InboxWatch, watch_inbox
from audiomill.jobs.batches.waiting import asked_to_stop
from audiomill.settings import Settings
from audiomill.storage.store import ObjectStore
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource, StoreResource

TICK_SECONDS = 30.0
"""A tick stops taking pages after so long: Dagster ends one at 60 s, and what it did would go unsaid."""

MOST_WAIT_SECONDS = 25.0
"""A tick listens so long at most: with the last page, up to 30 s after its start, it stays below 60 s."""


REST_SECONDS = 1.0
"""Beyond the time that a file must lie still: so long after a file the next one may come for the same tick."""


@sensor(
    name="inbox",
    description="Takes what is dropped under inbox/<workspace>/<recipe>/, in a folder and in a bucket alike.",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def inbox(
    context: SensorEvaluationContext, database: DatabaseResource, store: StoreResource, settings: SettingsResource
) -> SensorResult:
    """Take pages, each committed by itself. The cursor is the place in a sweep that is not through yet.

    A local inbox is listened to: between two sweeps the tick waits for a file that was dropped and lies still.
    """
    intake_of_tick = Intake(database.get(), store.get(), settings.get())
    with _watched(settings.get()) as watch:
        after = context.cursor or None
        if watch is None:
            after = intake_of_tick.sweep(after, None)
        else:
            intake_of_tick.take_changed(watch, wait_seconds=0)
            if after is not None or watch.sweep_due():
                after = intake_of_tick.sweep(after, watch)
                if after is None:
                    watch.swept()
            if after is None and not intake_of_tick.took:
                # After a sweep too: the next tick begins five seconds later at the earliest.
                intake_of_tick.take_changed(watch, wait_seconds=intake_of_tick.wait_seconds())
            if after is None:
                intake_of_tick.take_rest(watch)
    if intake_of_tick.took:
        context.log.info(intake_of_tick.said)
    return SensorResult(skip_reason=intake_of_tick.said, cursor=after or "")


@dataclass
class Intake:
    """What one tick takes."""

    database: Database
    store: ObjectStore
    settings: Settings
    submitted: int = 0
    rejected: int = 0
    waiting: int = 0
    _pages: int = 0
    _began: float = field(default_factory=time.monotonic)

    @property
    def took(self) -> bool:
        """Whether anything came in."""
        return bool(self.submitted or self.rejected)

    @property
    def said(self) -> str:
        """A sentence for Dagster's list of ticks."""
        return (
            f"{self.submitted} submitted, {self.rejected} rejected, "
            f"{self.waiting} still being written or waiting for an engine."
        )

    def wait_seconds(self) -> float:
        """How long this tick may still listen: what comes at the last moment is taken before Dagster ends the tick."""
        waited = time.monotonic() - self._began
        return max(0.0, min(self.settings.dagster.tick_wait_seconds, MOST_WAIT_SECONDS - waited))

    def sweep(self, after: str | None, watch: InboxWatch | None) -> str | None:
        """Up to `pages_per_tick` pages; returns where the next tick goes on, None when all was looked at.

        `watch` is told of what does not lie still yet: no event may come of it any more.
        """
        while not self._full():
            tally = self._page(after)
            if watch is not None:
                watch.again(tally.again)
            stays = tally.next_after == after
            after = tally.next_after
            if after is None or stays:
                break
        return after

    def take_changed(self, watch: InboxWatch, *, wait_seconds: float) -> None:
        """Take what lies still, as soon as something does within that time. What is left is named again."""
        keys = self._files(watch.still(wait_seconds, lambda: asked_to_stop(self.settings)))
        page = self.settings.inbox.page_size
        while keys and not self._full():
            tally = take_keys(self.database, self.store, keys=keys[:page], settings=self.settings)
            self._count(tally)
            watch.again(tally.again)
            keys = keys[page:]
        watch.again(keys)

    def take_rest(self, watch: InboxWatch) -> None:
        """Take what comes with what was taken and lies still a moment later: the next tick would begin in seconds."""
        taken = -1
        while self.took and self.submitted + self.rejected > taken and not self._full():
            taken = self.submitted + self.rejected
            left = TICK_SECONDS - (time.monotonic() - self._began)
            self.take_changed(watch, wait_seconds=min(self.settings.inbox.settle_seconds + REST_SECONDS, left))

    def _files(self, changed: Sequence[str]) -> list[str]:
        """The keys; for a folder, which was made or moved in, those of all that lies in it."""
        keys = {key for key in changed if not key.endswith("/")}
        for folder in changed:
            after: str | None = None
            while folder.endswith("/"):
                listed = self.store.list_page(folder, after=after, limit=self.settings.inbox.page_size)
                keys.update(info.key for info in listed.objects)
                after = listed.next_after
                if after is None:
                    break
        return sorted(keys)

    def _page(self, after: str | None) -> InboxTally:
        tally = take_page(self.database, self.store, after=after, settings=self.settings)
        self._count(tally)
        return tally

    def _count(self, tally: InboxTally) -> None:
        self._pages += 1
        self.submitted += tally.submitted
        self.rejected += tally.rejected
        self.waiting += tally.waiting

    def _full(self) -> bool:
        late = time.monotonic() - self._began > TICK_SECONDS
        return self._pages > 0 and (late or self._pages >= self.settings.inbox.pages_per_tick)


_watches: dict[Path, InboxWatch] = {}
_watching = Lock()


@contextmanager
def _watched(settings: Settings) -> Iterator[InboxWatch | None]:
    """The watch of this process, kept between ticks so that no event falls between two; None: sweep instead."""
    if not _watching.acquire(blocking=False):
        yield None  # somebody tries the sensor in Dagster's UI while it ticks
        return
    try:
        known = _watches.get(settings.data_dir)
        if known is not None and not known.stands():
            _watches.pop(settings.data_dir).close()
            known = None
        if known is None and (known := watch_inbox(settings)) is not None:
            _watches[settings.data_dir] = known
        yield known
    finally:
        _watching.release()


def close_watches() -> None:
    """End what this process watches."""
    with _watching:
        while _watches:
            _watches.popitem()[1].close()
