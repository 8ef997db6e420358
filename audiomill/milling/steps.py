"""What is done with one item beside the engine's calls, in threads: opened, cut further, gathered, finished."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from audiomill.engines.protocol import Engine
from audiomill.milling.in_work import InWork, UnitInWork
from audiomill.milling.pictures import Pictures
from audiomill.milling.stage import AnyStage, Opened, Unit
from audiomill.milling.writer import BatchWriter

_LEAST_ASKED = 4
"""Units asked for at once, where a call takes fewer: an item of one unit is known to be that when it is opened."""


class Steps:
    """The stage's part of an item's way."""

    def __init__(
        self,
        stage: AnyStage,
        engine: Engine,
        writer: BatchWriter,
        stopping: threading.Event,
    ) -> None:
        self._stage, self._engine, self._writer, self._stopping = stage, engine, writer, stopping
        self.most_units = max(engine.usage.group_items, _LEAST_ASKED)
        """That are asked for at once."""
        self._most_seconds = engine.usage.group_seconds
        self.pictures = Pictures()

    def open(self, work: InWork) -> tuple[Opened[Any], Iterator[Unit[Any]], list[Unit[Any]], bool]:
        """An item at hand, where its units come from, the first of them, and whether there are no more."""
        opened = self._stage.open(work.item, work.attempt, work.folder)
        source: Iterator[Unit[Any]] = iter(()) if opened.known else iter(self._stage.units(opened))
        return opened, source, *self.units_of(work, opened, source)

    def units_of(self, work: InWork, opened: Opened[Any], source: Iterator[Unit[Any]]) -> tuple[list[Unit[Any]], bool]:
        """The next units, and whether there are no more. What is known of earlier work is gathered at once."""
        units, drained = self._next(source)
        keys = {unit.key for unit in units if unit.key is not None}
        known = self._stage.recall(keys) if keys else {}
        with work.gathering:
            for place, unit in enumerate(units, start=work.asked):
                if unit.key is not None and unit.key in known:
                    work.kept[place] = self._stage.gather(opened, place, known[unit.key])
        return units, drained

    def _next(self, source: Iterator[Unit[Any]]) -> tuple[list[Unit[Any]], bool]:
        units: list[Unit[Any]] = []
        seconds = 0.0
        for unit in source:
            units.append(unit)
            seconds += unit.seconds
            enough = len(units) >= self.most_units or seconds >= self._most_seconds
            if enough or unit.first or self._stopping.is_set():
                return units, False
        return units, True

    def gather(self, work: InWork, results: Sequence[tuple[UnitInWork, Any]], *, last: bool) -> None:
        """Keep results of an item's units; with the last ones it is finished, and complete."""
        assert work.opened is not None  # noqa: S101 - it has units
        with work.gathering:
            for unit, result in results:
                work.kept[unit.index] = self._stage.gather(work.opened, unit.index, result)
        # With the last unit the item's own result is stored, and where nobody edits it no unit is looked for any more.
        if not last or self._stage.units_outlive_items:
            found = {unit.unit.key: result for unit, result in results if unit.unit.key is not None}
            if found:
                self._stage.keep(work.opened, found)
        if not last:
            self._writer.progress(work.item.id, work.share)
            return
        kept = [work.kept[index] for index in range(work.asked)]
        finished = self._stage.finish(self._engine, work.opened, kept, work.engine_seconds)
        self._writer.complete(work.item.id, work.item.job_id, finished.result)
        self.pictures.take(work.item.job_id, finished.picture)
