"""Calls of the engine: several side by side, who is inside them, and units of a call that broke, each tried alone."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from audiomill.engines.protocol import Engine
from audiomill.errors import AudiomillError, CustomerError, EngineFailed
from audiomill.milling.engine_time import EngineTime
from audiomill.milling.in_work import InWork, UnitInWork
from audiomill.milling.packing import Ready
from audiomill.milling.stage import AnyStage
from audiomill.milling.verdicts import Verdicts
from audiomill.milling.writer import BatchWriter


class _Stopped(Exception):
    """Ends a call of the engine, from its progress, when its run ends: nobody waits for the result."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to for one of its units: its result, why it was refused, or what was raised.

    broke: it broke the engine; else it is a fault of ours about these units' items. alone: nothing else was in the
    call. seconds: of the engine's time.
    """

    unit: UnitInWork
    result: Any
    raised: Exception | None
    alone: bool
    broke: bool = True
    seconds: float = 0.0


class Calls:
    """The engine's side of a stream."""

    def __init__(
        self,
        stage: AnyStage,
        engine: Engine,
        writer: BatchWriter,
        verdicts: Verdicts,
        stopping: threading.Event,
    ) -> None:
        self._stage, self._engine, self._writer, self._stopping = stage, engine, writer, stopping
        self._verdicts = verdicts
        self._most = engine.usage.parallel_calls
        self._pool = ThreadPoolExecutor(self._most, "engine")
        self._time = EngineTime()
        self._packs: dict[Future[tuple[list[Any], float]], list[UnitInWork]] = {}
        self._alone: deque[UnitInWork] = deque()
        self._alone_now = False

    @property
    def futures(self) -> set[Future[object]]:
        """Of the calls that run."""
        return cast("set[Future[object]]", set(self._packs))

    @property
    def units(self) -> list[UnitInWork]:
        """Units inside calls, or waiting to be tried alone."""
        return [*(each for pack in self._packs.values() for each in pack), *self._alone]

    def start(self, ready: Ready, *, more_may_come: bool) -> None:
        """Start calls while the engine takes more: full ones, or what there is when nothing more is coming."""
        if self._alone or self._alone_now:
            # Units of a call that broke: one at a time, with nothing beside them that could break them, or be blamed.
            if not self._packs:
                self._alone_now = True
                self._start([self._alone.popleft()])
        else:
            while len(self._packs) < self._most and (pack := ready.pack(more_may_come=more_may_come)):
                self._start(pack)
        self._note()

    def try_alone(self, unit: UnitInWork) -> None:
        """Let a unit of a call that broke be called by itself."""
        self._alone.append(unit)

    def drop(self, work: InWork) -> None:
        """Forget the units of an item that ended, but for those inside a call."""
        self._alone = deque(each for each in self._alone if each.work is not work)

    def ended(self, future: Future[object]) -> list[Outcome]:
        """What a call came to. Raises what ends the run."""
        pack = self._packs.pop(future)  # type: ignore[arg-type]  # one of `futures`
        alone, self._alone_now = self._alone_now, False
        for each in pack:
            each.work.calls -= 1
        self._note()
        error = future.exception()
        if error is not None:
            # Of what nobody wants any more it was stopped by us, whatever the engine made of it.
            stopped = isinstance(error, Exception) and all(map(self._unwanted, pack))
            items = list({each.work.item.id: each.work.item for each in pack}.values())
            broke = stopped or self._verdicts.breaks_the_engine(error, items)
            return [Outcome(each, None, cast("Exception", error), alone, broke) for each in pack]
        results, elapsed = cast("tuple[list[Any], float]", future.result())
        total = sum(each.unit.seconds for each in pack) or 1.0
        outcomes: list[Outcome] = []
        for each, result in zip(pack, results, strict=True):
            raised = result if isinstance(result, EngineFailed) else None
            odd = isinstance(result, AudiomillError) and not isinstance(result, CustomerError | EngineFailed)
            if odd and not self._unwanted(each):
                raise result
            outcomes.append(Outcome(each, result, raised, alone, seconds=elapsed * each.unit.seconds / total))
        return outcomes

    def shutdown(self) -> None:
        """Start nothing more and wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, pack: list[UnitInWork]) -> None:
        for each in pack:
            each.work.calls += 1
        self._note(pack)
        self._packs[self._pool.submit(self._timed, pack)] = pack

    def _note(self, starting: Sequence[UnitInWork] = ()) -> None:
        """Note who is inside the engine, before it could die of one."""
        inside = [each.work.item.id for pack in self._packs.values() for each in pack]
        self._writer.inside(list(dict.fromkeys([*inside, *(each.work.item.id for each in starting)])))

    def _timed(self, pack: Sequence[UnitInWork]) -> tuple[list[Any], float]:
        def progress(index: int, share: float) -> None:
            if self._stopping.is_set() or all(map(self._unwanted, pack)):
                raise _Stopped
            each = pack[index]
            self._writer.progress(each.work.item.id, each.work.share_of(each.index, share * each.unit.seconds))

        with self._time.call() as charge:
            results = self._stage.run(self._engine, [each.unit for each in pack], progress)
        if len(results) != len(pack):
            raise EngineFailed(f"The engine gave {len(results)} results for {len(pack)} units.")
        return results, charge.seconds

    def _unwanted(self, each: UnitInWork) -> bool:
        return each.work.ended or each.work.item.id in self._writer.unwanted
