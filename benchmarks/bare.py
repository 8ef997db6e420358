"""The bare engine in a loop over the same cores: what the platform's figures are held against.

The inputs are decoded before the clock runs. The same engine class as in the platform, as many calls at a time as it
takes; an engine that takes fewer calls than there are cores gets a process for each group of cores, for a loop that
leaves cores idle would flatter the platform.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from audiomill.audio.decode import decode
from audiomill.catalogue.engines import EngineEntry
from audiomill.catalogue.stages import Task
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.protocol import Engine
from audiomill.engines.registry import build
from audiomill.engines.speech_to_text.protocol import SpeechToText
from audiomill.engines.speech_to_text.recordings import transcribed
from audiomill.engines.text_to_speech.protocol import TextToSpeech
from audiomill.settings import LimitSettings, Settings

Tell = Callable[[int], None]


@contextmanager
def _loaded(entry: EngineEntry, cores: int) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="audiomill-bare-") as folder:
        engine = build(entry, Settings(data_dir=Path(folder), cpu={"cores": cores}))
        try:
            engine.load(entry.default_models.get("cpu"), "cpu")
            yield engine
        finally:
            engine.close()


def _payload(engine: Engine, task: Task, path: Path, scratch: Path) -> Any:  # noqa: ANN401 - sound or text
    """An input as the engine wants it. Sound is mapped from a file, since all inputs are held at once."""
    if task == "text_to_speech":
        return path.read_text(encoding="utf-8")
    rate = cast("SpeechToText", engine).sample_rate_hz
    return decode(path, sample_rate_hz=rate, mono=True, spool=scratch / path.name, limits=LimitSettings()).audio


def _call(engine: Engine, task: Task, group: Sequence[Any]) -> int:
    """One call; returns the number of items. Raises the error of an item."""
    results: Sequence[Any]
    if task == "text_to_speech":
        results = cast("TextToSpeech", engine).synthesize(group, SynthesizeParameters())
    else:
        results = transcribed(cast("SpeechToText", engine), group, TranscribeParameters())
    for result in results:
        if isinstance(result, Exception):
            raise result
    return len(results)


def bare_seconds(entry: EngineEntry, paths: Sequence[Path], cores: int, tell: Tell) -> float:
    """Seconds by the clock for all inputs, the engine loaded and warm before. `tell` gets the number of items done."""
    with tempfile.TemporaryDirectory(prefix="audiomill-bare-") as folder, _loaded(entry, cores) as engine:
        payloads = [_payload(engine, entry.task, path, Path(folder)) for path in paths]
        size, calls = engine.usage.group_items, engine.usage.parallel_calls
        groups = [payloads[start : start + size] for start in range(0, len(payloads), size)]
        if calls < cores:
            return _in_processes(entry, groups, cores // calls, cores, tell)
        with ThreadPoolExecutor(calls) as pool:
            call = partial(_call, engine, entry.task)
            # Every worker process of the engine has its model before the clock runs.
            list(pool.map(call, groups[:1] * (2 * calls)))
            return _timed(pool.map(call, groups), tell)


def _timed(results: Iterator[int], tell: Tell) -> float:
    began = time.perf_counter()
    for done in results:
        tell(done)
    return time.perf_counter() - began


def _in_processes(entry: EngineEntry, groups: Sequence[Sequence[Any]], processes: int, cores: int, tell: Tell) -> float:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _begin, (entry, cores, together)) as pool:
        # As many tasks as processes, none of which ends before all have begun: afterwards each process is warm.
        list(pool.map(_warm, [groups[0]] * processes))
        return _timed(pool.map(_work, groups), tell)


@dataclass
class _Process:
    """What a worker process holds from its start on."""

    entry: EngineEntry
    engine: Engine
    together: Any
    loaded: Any


_here: list[_Process] = []


def _begin(entry: EngineEntry, cores: int, together: Any) -> None:  # noqa: ANN401 - a barrier of a context
    loaded = _loaded(entry, cores)
    _here.append(_Process(entry, loaded.__enter__(), together, loaded))


def _warm(group: Sequence[Any]) -> None:
    _here[0].together.wait(timeout=120)
    _work(group)


def _work(group: Sequence[Any]) -> int:
    return _call(_here[0].engine, _here[0].entry.task, group)
