"""A batch worked off as a stream: while the engine works on one group of items, the next are fetched and decoded and
the last are checked, encoded and stored. Each item ends the moment it is done. Knows no stage and no Dagster.
"""

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, cast

import structlog

from audiomill.audio import MOST_ON_A_SHEET, Envelope, envelope
from audiomill.engines.protocol import Engine
from audiomill.errors import (
    AudiomillError,
    CustomerError,
    EngineFailed,
    EngineProcessDied,
    EngineProcessKilled,
    EngineUnavailable,
    LeaseLost,
    OperatorError,
)
from audiomill.faults import told
from audiomill.jobs.batches.leases import Claim, ClaimedItem
from audiomill.jobs.batches.recovery import ENGINE_CRASHED, LONE_AFTER
from audiomill.milling.engine_time import EngineTime
from audiomill.milling.stage import Finished, Payload, Prepared, Result, StageWork
from audiomill.milling.whose import Whose
from audiomill.milling.writer import BatchWriter

_THREADS = 4
"""Threads that fetch and decode, and as many that encode and store; they mostly wait for disk and network."""

_OF_THE_MACHINE = (OperatorError, OSError, MemoryError)
"""The store, the database, the disk, or what one item makes of them (whose.py): no fault of its input."""

_SETTLE_SECONDS = 1.0

log = structlog.get_logger(__name__)


class _Stopped(Exception):
    """Ends a call of the engine, from its progress, when its run ends: nobody waits for the result."""


@dataclass
class _InFlight(Generic[Payload, Result]):
    """Where items are between their queue and their end."""

    preparing: dict[Future[Prepared[Payload, Result]], ClaimedItem] = field(default_factory=dict)
    ready: dict[Hashable, list[Prepared[Payload, Result]]] = field(default_factory=dict)
    calls: dict[Future[tuple[list[Result | AudiomillError], float]], list[Prepared[Payload, Result]]] = field(
        default_factory=dict
    )
    finishing: dict[Future[Finished], Prepared[Payload, Result]] = field(default_factory=dict)
    alone: deque[Prepared[Payload, Result]] = field(default_factory=deque)
    alone_now: Prepared[Payload, Result] | None = None

    def items(self) -> int:
        """How many items are in flight."""
        waiting = sum(len(group) for group in self.ready.values())
        called = sum(len(group) for group in self.calls.values())
        return len(self.preparing) + waiting + called + len(self.finishing) + len(self.alone)


def work_off(
    claim: Claim,
    stage: StageWork[Payload, Result],
    engine: Engine,
    writer: BatchWriter,
    scratch: Path | None = None,
    *,
    whose: Callable[[Exception], Whose] = lambda _: "machine",
) -> list[tuple[str, Envelope]]:
    """Work off all items of a claim. Returns (job id, outline) of the first items, for the batch's picture.

    An item whose input is at fault, or that breaks the engine even when it is alone, fails by itself. `whose` says of a
    fault of ours, met at one item, whether it is about that item: then it is handed back, and the rest goes on. Raises
    LeaseLost, and whatever makes going on senseless (the store, the database, the disk or the model is away; the run is
    stopped): the batch was given back then.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audiomill-", dir=scratch)))
        stream = _Stream(stage, engine, writer, folder, whose)
        try:
            for items in _rounds(claim.items):
                stream.run(items)
        except BaseException as error:
            # Before anything else is waited for: others can go on with what is open, whatever hangs here.
            if not isinstance(error, LeaseLost):
                stream.settle()
                writer.give_back(why_given_back(error), suspects=stream.suspects)
            # Ends calls under way, else a cancelled run would wait for an hour of audio.
            engine.close()
            raise
        finally:
            stream.shutdown()
        return stream.pictures


def why_given_back(error: BaseException) -> str:
    """For operators: why a run gave its batch back."""
    if isinstance(error, EngineUnavailable):
        return f"The engine cannot run here: {told(error)}"
    return f"The run {'could not go on' if isinstance(error, Exception) else 'was stopped'}: {told(error)}"


def _rounds(items: Sequence[ClaimedItem]) -> Iterator[Sequence[ClaimedItem]]:
    """First what is not suspected of anything; then each suspect alone: nothing beside it is lost, or blamed."""
    suspects = [item for item in items if item.crashes or _lone(item)]
    innocent = [item for item in items if item not in suspects]
    if innocent:
        yield innocent
    for item in suspects:
        yield [item]


def _lone(item: ClaimedItem) -> bool:
    """Whether it is worked on alone because runs end under it, nobody knows of what."""
    return item.interruptions >= LONE_AFTER


class _Stream(Generic[Payload, Result]):
    """One batch on its way. All state is the calling thread's; other threads only compute and return."""

    def __init__(
        self,
        stage: StageWork[Payload, Result],
        engine: Engine,
        writer: BatchWriter,
        folder: Path,
        whose: Callable[[Exception], Whose],
    ) -> None:
        self._stage, self._engine, self._writer, self._folder = stage, engine, writer, folder
        self._whose = whose
        self._usage = engine.usage
        self._queue: deque[ClaimedItem] = deque()
        self._flight: _InFlight[Payload, Result] = _InFlight()
        self._prepare = ThreadPoolExecutor(_THREADS, "prepare")
        self._call = ThreadPoolExecutor(self._usage.parallel_calls, "engine")
        self._finish = ThreadPoolExecutor(_THREADS, "finish")
        self._window = max(2 * self._usage.parallel_calls * self._usage.group_items, 2 * _THREADS)
        self._stopping = threading.Event()
        self._engine_time = EngineTime()
        self._drawing = threading.Lock()
        self.pictures: list[tuple[str, Envelope]] = []
        self.suspects: tuple[str, ...] = ()
        """Items at which the run broke though the machine is well."""

    def run(self, items: Sequence[ClaimedItem]) -> None:
        """Until every one of these items has ended."""
        self._queue.extend(items)
        while self._queue or self._flight.items():
            self._writer.check()
            self._refill()
            self._call_engine()
            self._note_calls()
            pending: set[Future[object]] = set()
            for futures in (self._flight.preparing, self._flight.calls, self._flight.finishing):
                pending.update(futures)  # type: ignore[arg-type]  # of different results
            done, _ = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                self._advance(future)

    def settle(self) -> None:
        """Let what is being stored now be stored, if that is a matter of moments."""
        wait(self._flight.finishing, timeout=_SETTLE_SECONDS)

    def shutdown(self) -> None:
        """Start nothing more and wait for what runs; a call of the engine ends when it next tells of progress."""
        self._stopping.set()
        for pool in (self._prepare, self._call, self._finish):
            pool.shutdown(wait=True, cancel_futures=True)

    def _refill(self) -> None:
        """Begin the next items, many in one transaction, when half of the window is free."""
        room = self._window - self._flight.items()
        if not self._queue or (room < self._window // 2 and self._flight.items()):
            return
        chunk = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        attempts = self._writer.begin([item.id for item in chunk])
        self._writer.advanced(max(self._longest(), *(item.audio_seconds for item in chunk)))
        for item in chunk:
            if item.id in attempts:
                folder = self._folder / item.id
                folder.mkdir()
                future = self._prepare.submit(self._stage.prepare, item, attempts[item.id], folder)
                self._flight.preparing[future] = item

    def _call_engine(self) -> None:
        """Start calls while the engine takes more: full groups, or what there is when nothing more is coming."""
        flight = self._flight
        if flight.alone or flight.alone_now is not None:
            # Items of a call that broke: one at a time, with nothing beside them that could break them, or be blamed.
            if not flight.calls:
                flight.alone_now = prepared = flight.alone.popleft()
                self._start_call([prepared])
            return
        for group in list(flight.ready):
            while len(flight.calls) < self._usage.parallel_calls and group in flight.ready:
                pack = self._pack(flight.ready[group])
                if pack is None:
                    break
                del flight.ready[group][: len(pack)]
                if not flight.ready[group]:
                    del flight.ready[group]
                self._start_call(pack)

    def _start_call(self, pack: list[Prepared[Payload, Result]]) -> None:
        self._note_calls(pack)
        self._flight.calls[self._call.submit(self._timed, pack)] = pack

    def _note_calls(self, starting: Sequence[Prepared[Payload, Result]] = ()) -> None:
        """Note who is inside the engine, before it could die of one."""
        inside = [prepared.item.id for pack in self._flight.calls.values() for prepared in pack]
        self._writer.inside([*inside, *(prepared.item.id for prepared in starting)])

    def _longest(self) -> float:
        """Seconds of the longest sound in flight: what may take its time."""
        flight = self._flight
        packs = [*flight.ready.values(), *flight.calls.values(), list(flight.finishing.values()), list(flight.alone)]
        known = [prepared.seconds for pack in packs for prepared in pack]
        return max([0.0, *known, *(item.audio_seconds for item in flight.preparing.values())])

    def _unwanted(self, prepared: Prepared[Payload, Result]) -> bool:
        return prepared.item.id in self._writer.unwanted

    def _pack(self, ready: list[Prepared[Payload, Result]]) -> list[Prepared[Payload, Result]] | None:
        pack: list[Prepared[Payload, Result]] = []
        seconds = 0.0
        for prepared in ready:
            if pack and seconds + prepared.seconds > self._usage.group_seconds:
                return pack
            pack.append(prepared)
            seconds += prepared.seconds
            if len(pack) == self._usage.group_items:
                return pack
        return None if self._flight.preparing else pack

    def _timed(self, pack: Sequence[Prepared[Payload, Result]]) -> tuple[list[Result | AudiomillError], float]:
        def progress(index: int, share: float) -> None:
            if self._stopping.is_set() or all(map(self._unwanted, pack)):
                raise _Stopped
            self._writer.progress(pack[index].item.id, share)

        with self._engine_time.call() as charge:
            results = self._stage.run(self._engine, pack, progress)
        if len(results) != len(pack):
            raise EngineFailed(f"The engine gave {len(results)} results for {len(pack)} items.")
        return results, charge.seconds

    def _advance(self, future: Future[object]) -> None:
        """Take an item, or a group, from one step to the next."""
        flight = self._flight
        self._writer.advanced(self._longest())
        if future in flight.preparing:
            item = flight.preparing.pop(future)  # type: ignore[arg-type]  # found there
            prepared = self._outcome(future, item)
            if isinstance(prepared, Prepared):
                self._made_ready(prepared)
        elif future in flight.calls:
            self._called(future, flight.calls.pop(future))  # type: ignore[arg-type]  # found there
        else:
            prepared = flight.finishing.pop(future)  # type: ignore[arg-type]  # found there
            if self._outcome(future, prepared.item) is not None:
                self._forget(prepared.item)

    def _made_ready(self, prepared: Prepared[Payload, Result]) -> None:
        if self._unwanted(prepared):
            self._forget(prepared.item)
        elif prepared.known is not None:
            self._to_finish(prepared, prepared.known, 0.0)
        else:
            self._flight.ready.setdefault(prepared.group, []).append(prepared)

    def _called(self, future: Future[object], pack: list[Prepared[Payload, Result]]) -> None:
        alone, self._flight.alone_now = self._flight.alone_now is not None, None
        error = future.exception()
        if error is not None:
            self._call_broke(error, pack, alone=alone)
            return
        results, elapsed = cast("tuple[list[Result | AudiomillError], float]", future.result())
        total = sum(prepared.seconds for prepared in pack) or 1.0
        for prepared, result in zip(pack, results, strict=True):
            if self._unwanted(prepared):
                self._forget(prepared.item)
            elif isinstance(result, CustomerError):
                self._failed(prepared.item, result)
            elif isinstance(result, EngineFailed):
                self._broke(prepared, result, alone=alone)
            elif isinstance(result, AudiomillError):
                raise result
            else:
                self._to_finish(prepared, result, elapsed * prepared.seconds / total)

    def _call_broke(self, error: BaseException, pack: list[Prepared[Payload, Result]], *, alone: bool) -> None:
        if not isinstance(error, Exception):
            raise error
        if all(map(self._unwanted, pack)):
            # Stopped by us, whatever the engine made of it.
            for prepared in pack:
                self._forget(prepared.item)
            return
        if isinstance(error, EngineUnavailable):
            raise error
        if isinstance(error, _OF_THE_MACHINE) and not isinstance(error, EngineFailed):
            if not self._handed_back(error, [prepared.item for prepared in pack]):
                raise error
            return
        # Engines raise EngineFailed when they break; one that raises something else is broken all the same.
        log.warning(
            "engine broke",
            jobs=[prepared.item.job_id for prepared in pack],
            error=str(error) if isinstance(error, EngineFailed) else type(error).__name__,
        )
        for prepared in pack:
            self._broke(prepared, error, alone=alone)

    def _broke(self, prepared: Prepared[Payload, Result], error: Exception, *, alone: bool) -> None:
        """An item on which the engine broke is tried once more, alone; then it is the one to blame.

        Not where the engine lost a process of its own: that is counted, or where it was killed, nobody's doing.
        """
        if not alone:
            self._flight.alone.append(prepared)
            return
        if isinstance(error, EngineProcessKilled):
            self._writer.hand_back(prepared.item.id, prepared.item.job_id, error)
            self._forget(prepared.item)
            return
        if isinstance(error, EngineProcessDied):
            # As with a run's own process, one death is no verdict.
            self._writer.crashed(prepared.item.id, prepared.item.job_id, error)
            self._forget(prepared.item)
            return
        failure = CustomerError(ENGINE_CRASHED, code="engine_crashed")
        failure.__cause__ = error
        self._failed(prepared.item, failure)

    def _to_finish(self, prepared: Prepared[Payload, Result], result: Result, seconds: float) -> None:
        future = self._finish.submit(self._finish_and_record, prepared, result, seconds)
        self._flight.finishing[future] = prepared

    def _finish_and_record(self, prepared: Prepared[Payload, Result], result: Result, seconds: float) -> Finished:
        finished = self._stage.finish(self._engine, prepared, result, seconds)
        self._writer.complete(prepared.item.id, prepared.item.job_id, finished.result)
        if finished.picture is not None and len(self.pictures) < MOST_ON_A_SHEET:
            # An outline, a few kilobytes: the sound itself would stay in memory, or on the disk, until the batch ends.
            outline = envelope(finished.picture)
            with self._drawing:
                if len(self.pictures) < MOST_ON_A_SHEET:
                    self.pictures.append((prepared.item.job_id, outline))
        return finished

    def _outcome(self, future: Future[object], item: ClaimedItem) -> object:
        """A step's value; None when the item ended there with a reason, or was handed back."""
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, _OF_THE_MACHINE) and self._handed_back(error, [item]):
            return None
        if isinstance(error, _OF_THE_MACHINE) or not isinstance(error, Exception):
            raise error
        if not isinstance(error, CustomerError):
            log.error("job broke", job=item.job_id, exc_info=error)
            failure = CustomerError(
                "We could not process this input, through a fault of ours. Write to us with the job id.",
                code="internal_error",
            )
            failure.__cause__ = error
            error = failure
        self._failed(item, error)
        return None

    def _handed_back(self, error: Exception, items: Sequence[ClaimedItem]) -> bool:
        """Whether the rest can go on without these, at which a fault of ours was met; they are handed back then.

        Where nobody knows whose it is, the run is given back and these are noted; what was noted often is alone now,
        and it is its own.
        """
        if isinstance(error, LeaseLost):
            return False
        found = self._whose(error)
        if found == "item" or (found == "unclear" and all(map(_lone, items))):
            for item in items:
                self._writer.hand_back(item.id, item.job_id, error)
                self._forget(item)
            return True
        if found == "unclear":
            self.suspects = tuple(item.id for item in items)
        return False

    def _failed(self, item: ClaimedItem, error: CustomerError) -> None:
        self._writer.fail(item.id, item.job_id, error)
        self._forget(item)

    def _forget(self, item: ClaimedItem) -> None:
        # Sound mapped from a file stays readable after the file's name is gone.
        shutil.rmtree(self._folder / item.id, ignore_errors=True)
