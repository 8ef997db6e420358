"""Items and units on their way: what was asked for, what is done, how far an item is. No threads are started here.

All of it is the stream's own thread's, but for `share` and `share_of`, which others ask from theirs.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.stage import Opened, Unit


@dataclass(eq=False)
class InWork:
    """An item between its beginning and its end.

    source: units that were not asked for yet; None when there are no more. asking: a thread asks for some.
    waiting: units in the stream's hands (ready, in a call, to be tried alone). calls: those of them inside one.
    keeping: threads that gather results; finishing: one of them finishes. engine_seconds: charged until now.
    ended: complete, failed, handed back or no longer wanted.
    """

    item: ClaimedItem
    attempt: int
    folder: Path
    opened: Opened[Any] | None = None
    source: Iterator[Unit[Any]] | None = None
    opening: bool = True
    asking: bool = False
    finishing: bool = False
    ended: bool = False
    asked: int = 0
    waiting: int = 0
    keeping: int = 0
    calls: int = 0
    engine_seconds: float = 0.0
    kept: dict[int, Any] = field(default_factory=dict)
    gathering: threading.Lock = field(default_factory=threading.Lock)
    _first: bool = False
    _asked_seconds: float = 0.0
    _done_seconds: float = 0.0
    _shares: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def took(self, units: list[Unit[Any]], *, drained: bool) -> list["UnitInWork"]:
        """Note units that were asked for. Gives those whose results are not there already."""
        numbered = [UnitInWork(self, self.asked + place, unit) for place, unit in enumerate(units)]
        wanted = [each for each in numbered if each.index not in self.kept]
        self.asked += len(units)
        self.waiting += len(wanted)
        self._done_seconds += sum(each.unit.seconds for each in numbered if each.index in self.kept)
        self._asked_seconds += sum(unit.seconds for unit in units)
        self._first = bool(units) and units[-1].first
        if drained:
            self.source = None
        return wanted

    @property
    def may_be_asked(self) -> bool:
        """Whether there may be more units, and nothing that they depend on is on its way."""
        dependent = self._first and (self.waiting or self.keeping)
        return self.source is not None and not (self.asking or self.ended or dependent)

    @property
    def is_done(self) -> bool:
        """Whether every unit is gathered, and there are no more."""
        busy = self.opening or self.asking or self.waiting or self.keeping or self.finishing
        return self.source is None and not busy and not self.ended

    @property
    def is_held(self) -> bool:
        """Whether a thread may be using its folder."""
        return self.opening or self.asking or bool(self.calls) or bool(self.keeping)

    @property
    def seconds(self) -> float:
        """Of its sound: estimated until it is opened."""
        return self.item.audio_seconds if self.opened is None else self.opened.seconds

    @property
    def left_seconds(self) -> float:
        """Of what no call took yet."""
        if self.ended or self.finishing:
            return 0.0
        total = self._asked_seconds if self.source is None and self.opened is not None else self.seconds
        return max(0.0, total - self._done_seconds)

    def unit_done(self, index: int, seconds: float) -> None:
        """A call is over for one of its units."""
        with self._lock:
            self._shares.pop(index, None)
            self._done_seconds += seconds

    def share_of(self, index: int, seconds: float) -> float:
        """How far the item is, 0 to 1, now that `seconds` of one of its units are done."""
        with self._lock:
            self._shares[index] = seconds
        return self.share

    @property
    def share(self) -> float:
        """How far the item is, 0 to 1."""
        with self._lock:
            total = self._asked_seconds if self.source is None else max(self.seconds, self._asked_seconds)
            return min(1.0, (self._done_seconds + sum(self._shares.values())) / total) if total else 0.0


@dataclass(frozen=True, eq=False)
class UnitInWork:
    """A unit that was asked for, and whose it is."""

    work: InWork
    index: int
    unit: Unit[Any]
