"""What flows in a batch: items are begun, opened and cut into units, units are called and gathered, items finished.

What an engine's call is: calling.py. What an error means: verdicts.py. Where an item stands: in_work.py.
"""

import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, cast

from audiomill.engines.protocol import Engine
from audiomill.errors import CustomerError, EngineProcessDied, EngineProcessKilled
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.recovery import ENGINE_CRASHED
from audiomill.milling.calling import Calls, Outcome
from audiomill.milling.in_work import InWork, UnitInWork
from audiomill.milling.packing import Ready
from audiomill.milling.stage import AnyStage, Unit
from audiomill.milling.steps import Steps
from audiomill.milling.verdicts import Verdicts
from audiomill.milling.whose import Whose
from audiomill.milling.writer import BatchWriter

_THREADS = 4
"""Threads that fetch and cut, and as many that gather and store; they mostly wait for disk and network."""

_SETTLE_SECONDS = 1.0

_LEAST_SECONDS = 600.0
"""Of sound, begun and not yet called for: while there is less, further items are begun. And of units that wait."""


class Flow:
    """One batch on its way. All state is the calling thread's; other threads only compute and return."""

    def __init__(
        self,
        stage: AnyStage,
        engine: Engine,
        writer: BatchWriter,
        folder: Path,
        whose: Callable[[Exception], Whose],
    ) -> None:
        self._stage, self._engine, self._writer, self._folder = stage, engine, writer, folder
        self.verdicts = Verdicts(whose)
        usage = engine.usage
        self._window = max(2 * usage.parallel_calls * usage.group_items, 2 * _THREADS)
        self._most_seconds = max(2 * usage.parallel_calls * usage.group_seconds, _LEAST_SECONDS)
        self._queue: deque[ClaimedItem] = deque()
        self._works: list[InWork] = []
        self._ready: Ready = Ready(usage)
        self._stopping = threading.Event()
        self._calls = Calls(stage, engine, writer, self.verdicts, self._stopping)
        self._steps = Steps(stage, engine, writer, self._stopping)
        self._under_way: dict[Future[Any], Callable[[Future[Any]], None]] = {}
        self._keeping: set[Future[Any]] = set()
        self._ungathered_seconds = 0.0  # of sound, of units whose results are in memory and not gathered yet
        self._most_ungathered_seconds = 2 * usage.parallel_calls * usage.group_seconds
        self._open, self._keep = ThreadPoolExecutor(_THREADS, "prepare"), ThreadPoolExecutor(_THREADS, "finish")
        self.pictures = self._steps.pictures

    def run(self, items: Sequence[ClaimedItem]) -> None:
        """Until every one of these items has ended."""
        self._queue.extend(items)
        while self._queue or self._works:
            self._writer.check()
            self._leave_unwanted()
            self._refill()
            self._ask_for_units()
            if self._ungathered_seconds < self._most_ungathered_seconds:
                self._calls.start(self._ready, more_may_come=any(work.opening or work.asking for work in self._works))
            done, _ = wait({*self._under_way, *self._calls.futures}, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                self._advance(future)

    def settle(self) -> None:
        """Let what is being stored now be stored, if that is a matter of moments."""
        wait(self._keeping, timeout=_SETTLE_SECONDS)

    def shutdown(self) -> None:
        """Start nothing more and wait for what runs; a call of the engine ends when it next tells of progress."""
        self._stopping.set()
        self._open.shutdown(wait=True, cancel_futures=True)
        self._calls.shutdown()
        self._keep.shutdown(wait=True, cancel_futures=True)

    def _refill(self) -> None:
        """Begin the next items, many in one transaction, when half of the window is free and little is left to do."""
        room = self._window - len(self._works)
        if not self._queue or (room < self._window // 2 and self._works):
            return
        left = sum(work.left_seconds for work in self._works)
        chunk: list[ClaimedItem] = []
        while self._queue and len(chunk) < room and left < self._most_seconds:
            chunk.append(self._queue.popleft())
            left += chunk[-1].audio_seconds
        if not chunk:
            return
        attempts = self._writer.begin([item.id for item in chunk])
        self._writer.advanced(max(self._longest(), *(item.audio_seconds for item in chunk)))
        for item in chunk:
            if item.id in attempts:
                folder = self._folder / item.id
                folder.mkdir()
                work: InWork = InWork(item, attempts[item.id], folder)
                self._works.append(work)
                self._step(self._open, partial(self._steps.open, work), partial(self._opened, work))

    def _ask_for_units(self) -> None:
        """Have items cut further while few units wait: of those with the least left first, for these end soonest."""
        while True:
            asking = sum(work.asking for work in self._works)
            under_way = len(self._ready) + len(self._calls.units) + asking * self._steps.most_units
            if asking >= _THREADS or under_way >= self._window or self._ready.seconds >= self._most_seconds:
                return
            works = [work for work in self._works if work.may_be_asked]
            if not works:
                return
            work = min(works, key=lambda each: each.left_seconds)
            assert work.source is not None  # noqa: S101 - it may be asked
            assert work.opened is not None  # noqa: S101
            work.asking = True
            self._step(
                self._open, partial(self._steps.units_of, work, work.opened, work.source), partial(self._asked, work)
            )

    def _longest(self) -> float:
        """Seconds of the longest sound that anything is done with now: what may take its time."""
        whole = [work.seconds for work in self._works if work.opening or work.asking or work.finishing]
        return max([0.0, *whole, self._ready.longest_seconds, *(each.unit.seconds for each in self._calls.units)])

    def _step(
        self, pool: ThreadPoolExecutor, step: Callable[[], Any], done: Callable[[Future[Any]], None]
    ) -> Future[Any]:
        future = pool.submit(step)
        self._under_way[future] = done
        return future

    def _advance(self, future: Future[Any]) -> None:
        """Take an item, or the units of a call, from one step to the next."""
        self._writer.advanced(self._longest())
        if future in self._under_way:
            self._keeping.discard(future)
            self._under_way.pop(future)(future)
        else:
            self._called(self._calls.ended(future))

    def _opened(self, work: InWork, future: Future[Any]) -> None:
        work.opening = False
        if self._went_well(future, work) and not work.ended:
            work.opened, work.source, units, drained = future.result()
            self._took(work, units, drained=drained)
        self._release(work)

    def _asked(self, work: InWork, future: Future[Any]) -> None:
        work.asking = False
        if self._went_well(future, work) and not work.ended:
            units, drained = future.result()
            self._took(work, units, drained=drained)
        self._release(work)

    def _took(self, work: InWork, units: list[Unit[Any]], *, drained: bool) -> None:
        self._ready.add(work.took(units, drained=drained))
        self._finish_if_done(work)

    def _called(self, outcomes: Sequence[Outcome]) -> None:
        results: dict[InWork, list[tuple[UnitInWork, Any]]] = {}
        for outcome in outcomes:
            work = outcome.unit.work
            work.waiting -= 1
            work.engine_seconds += outcome.seconds
            if work.ended or work.item.id in self._writer.unwanted:
                self._end(work)
            elif outcome.raised is not None and not outcome.broke:
                self._hand_back(work, outcome.raised)
            elif outcome.raised is not None:
                self._broke(outcome, outcome.raised)
            elif isinstance(outcome.result, CustomerError):
                self._fail(work, outcome.result)
            else:
                work.unit_done(outcome.unit.index, outcome.unit.unit.seconds)
                results.setdefault(work, []).append((outcome.unit, outcome.result))
        for work, found in results.items():
            if not work.ended:
                self._gather(work, found)

    def _broke(self, outcome: Outcome, error: Exception) -> None:
        """A unit on which the engine broke is tried once more, alone; then its item is the one to blame.

        Not where the engine lost a process of its own: that is counted, or where it was killed, nobody's doing.
        """
        work = outcome.unit.work
        if not outcome.alone:
            work.waiting += 1
            self._calls.try_alone(outcome.unit)
        elif isinstance(error, EngineProcessKilled):
            self._hand_back(work, error)
        elif isinstance(error, EngineProcessDied):
            # As with a run's own process, one death is no verdict.
            self._writer.crashed(work.item.id, work.item.job_id, error)
            self._end(work)
        else:
            failure = CustomerError(ENGINE_CRASHED, code="engine_crashed")
            failure.__cause__ = error
            self._fail(work, failure)

    def _gather(self, work: InWork, results: list[tuple[UnitInWork, Any]]) -> None:
        last = work.is_done
        work.keeping += 1
        work.finishing = last
        # An item's last are not waited for: to finish it may take long, and no more of it comes.
        seconds = 0.0 if last else sum(unit.unit.seconds for unit, _ in results)
        self._ungathered_seconds += seconds
        step = partial(self._steps.gather, work, results, last=last)
        self._keeping.add(self._step(self._keep, step, partial(self._gathered, work, seconds)))

    def _finish_if_done(self, work: InWork) -> None:
        if work.is_done:
            self._gather(work, [])

    def _gathered(self, work: InWork, seconds: float, future: Future[Any]) -> None:
        work.keeping -= 1
        self._ungathered_seconds -= seconds
        finished, work.finishing = work.finishing and not work.keeping, False
        if self._went_well(future, work):
            if finished:
                self._end(work)
            else:
                self._finish_if_done(work)
        self._release(work)

    def _went_well(self, future: Future[Any], work: InWork) -> bool:
        """Whether a step did; if not, the item ended there with a reason, or was handed back."""
        error = future.exception()
        if error is None:
            return True
        failure = self.verdicts.of_a_step(error, work.item)
        if work.ended:
            return False
        if failure is not None:
            self._fail(work, failure)
        else:
            self._hand_back(work, cast("Exception", error))
        return False

    def _leave_unwanted(self) -> None:
        """Items whose jobs were cancelled meanwhile."""
        for work in [each for each in self._works if each.item.id in self._writer.unwanted]:
            self._end(work)

    def _hand_back(self, work: InWork, error: Exception) -> None:
        self._writer.hand_back(work.item.id, work.item.job_id, error)
        self._end(work)

    def _fail(self, work: InWork, error: CustomerError) -> None:
        self._writer.fail(work.item.id, work.item.job_id, error)
        self._end(work)

    def _end(self, work: InWork) -> None:
        work.ended = True
        self._ready.drop(work)
        self._calls.drop(work)
        self._release(work)

    def _release(self, work: InWork) -> None:
        """Remove the files of an item that ended, once no thread uses them."""
        if work.ended and not work.is_held and work in self._works:
            self._works.remove(work)
            # Sound mapped from a file stays readable after the file's name is gone.
            shutil.rmtree(work.folder, ignore_errors=True)
