"""Units that wait for a call of the engine, and how they are packed: of one group, of whatever items."""

from collections.abc import Hashable

from audiomill.engines.protocol import Usage
from audiomill.milling.in_work import InWork, UnitInWork


class Ready:
    """Units by group, in the order in which they came."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._groups: dict[Hashable, list[UnitInWork]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    @property
    def seconds(self) -> float:
        """Of all that waits."""
        return sum(each.unit.seconds for group in self._groups.values() for each in group)

    @property
    def longest_seconds(self) -> float:
        """Of one unit."""
        return max((each.unit.seconds for group in self._groups.values() for each in group), default=0.0)

    def add(self, units: list[UnitInWork]) -> None:
        """Let units wait."""
        for each in units:
            self._groups.setdefault(each.unit.group, []).append(each)

    def drop(self, work: InWork) -> None:
        """Forget the units of an item that ended."""
        for group in list(self._groups):
            self._groups[group] = [each for each in self._groups[group] if each.work is not work]
            if not self._groups[group]:
                del self._groups[group]

    def pack(self, *, more_may_come: bool) -> list[UnitInWork]:
        """The next call: a full one, or what there is when nothing more is coming; empty when it is to be waited."""
        for group, ready in self._groups.items():
            pack, full = self._filled(ready)
            if full or not more_may_come:
                del ready[: len(pack)]
                if not ready:
                    del self._groups[group]
                return pack
        return []

    def _filled(self, ready: list[UnitInWork]) -> tuple[list[UnitInWork], bool]:
        pack: list[UnitInWork] = []
        seconds = 0.0
        for each in ready:
            if pack and seconds + each.unit.seconds > self._usage.group_seconds:
                return pack, True
            pack.append(each)
            seconds += each.unit.seconds
            if len(pack) == self._usage.group_items:
                return pack, True
        return pack, False
