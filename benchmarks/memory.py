"""Peak memory of a job of three hours against one of a minute: all processes of the run summed.

`python -m benchmarks.memory --json PATH`. A run is worked off in a process of its own, without Dagster: claim, stream,
close, on an embedded database and a local store. Of a dub it is the runs of all its steps, one after the other in that
one process, with imported subtitles: what transcribing takes is transcribe's figure. What is summed is each process's
proportional share (PSS), so that pages which several map count once; sampled, so that a peak of some milliseconds may
be missed.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.corpus import clips

SHORT_SECONDS, LONG_SECONDS = 60.0, 3 * 3600.0
SAMPLE_SECONDS = 0.2
MEGABYTE = 1024**2


@dataclass(frozen=True)
class Peak:
    """Of one run: megabytes of all its processes together, and how long it took by the clock."""

    megabytes: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="PATH")
    parser.add_argument("--capabilities", nargs="+", default=list(CAPABILITIES), choices=list(CAPABILITIES))
    parser.add_argument("--long-seconds", type=float, default=LONG_SECONDS, help="of sound; default: three hours")
    given = parser.parse_args(arguments)
    figures: dict[str, dict[str, float]] = {}
    for name in given.capabilities:
        short, long = (_measured(name, seconds) for seconds in (SHORT_SECONDS, given.long_seconds))
        figures[name] = {
            "short_peak_mb": round(short.megabytes, 1),
            "long_peak_mb": round(long.megabytes, 1),
            "ratio": round(long.megabytes / short.megabytes, 3),
            "short_seconds": SHORT_SECONDS,
            "long_seconds": given.long_seconds,
            "short_run_seconds": round(short.seconds, 1),
            "long_run_seconds": round(long.seconds, 1),
        }
        print(name, figures[name], flush=True)
        given.json.write_text(json.dumps({"capabilities": figures}, indent=1) + "\n", encoding="utf-8")


def _measured(name: str, seconds: float) -> Peak:
    with tempfile.TemporaryDirectory(prefix="audiomill-memory-") as folder:
        Path(folder).chmod(0o755)  # the embedded server may run as another user
        content = Path(folder) / "input"
        CAPABILITIES[name](content, seconds)
        context = multiprocessing.get_context("spawn")
        ready, go, done = context.Event(), context.Event(), context.Event()
        # With Dagster's imports and the database beside it the run would be watched in a crowd: it is alone here.
        process = context.Process(target=_run, args=(name, str(content), folder, ready, go, done))
        process.start()
        try:
            _wait(ready, process)
            with _watched(process.pid or 0) as peak:
                began = time.perf_counter()
                go.set()
                _wait(done, process)
                took = time.perf_counter() - began
        finally:
            process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"the run of {name} ended with {process.exitcode}")
        return Peak(peak[0] / MEGABYTE, took)


def _wait(event: Any, process: Any) -> None:  # noqa: ANN401 - of a context
    while not event.wait(1.0):
        if not process.is_alive():
            raise RuntimeError(f"the run's process ended with {process.exitcode}")


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """The most bytes that a process and its descendants had, PostgreSQL's left out: it serves every run."""
    peak, stop = [0.0], threading.Event()

    def look() -> None:
        while not stop.is_set():
            peak[0] = max(peak[0], float(sum(map(_bytes, _family(pid)))))
            stop.wait(SAMPLE_SECONDS)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *(each for each in process.children(recursive=True) if each.name() != "postgres")]
    except psutil.NoSuchProcess:
        return []


def _bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _run(name: str, content: str, folder: str, ready: Any, go: Any, done: Any) -> None:  # noqa: ANN401 - events
    """One job from its order to its end, in this process."""
    from benchmarks.memory_run import prepared  # noqa: PLC0415 - in the run's process alone

    with prepared(name, Path(content), Path(folder)) as work:
        ready.set()
        go.wait()
        work()
    done.set()


def _recording(path: Path, seconds: float) -> None:
    """Speech by espeak-ng, 16 kHz, 16 bit, as long as asked; written clip by clip."""
    import wave  # noqa: PLC0415

    from audiomill.audio.encode import from_wav  # noqa: PLC0415

    block = [from_wav(clip) for clip in clips(12)]
    rate = block[0].sample_rate_hz
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        written = 0
        while written < seconds * rate:
            for each in block:
                steps = (each.samples[0] * 32_767).astype("<i2")[: int(seconds * rate) - written]
                file.writeframes(steps.tobytes())
                written += len(steps)


def _text(path: Path, seconds: float) -> None:
    """English sentences that take about so long to speak."""
    sentence = "The committee decided yesterday that the new road would be built in spring, and nobody was surprised. "
    path.write_text(sentence * max(1, round(seconds / 5.6)), encoding="utf-8")


def _film(path: Path, seconds: float) -> None:
    """A recording, and beside it the subtitles of its dub: a line each ten seconds."""
    _recording(path, seconds)
    lines = [
        f"{number + 1}\n{_time(10 * number)} --> {_time(10 * number + 8)}\nGuten Morgen, das ist Zeile {number + 1}.\n"
        for number in range(int(seconds // 10))
    ]
    path.with_name("subtitles").write_text("\n".join(lines), encoding="utf-8")


def _time(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},000"


CAPABILITIES: dict[str, Callable[[Path, float], None]] = {
    "transcribe": _recording,
    "synthesize": _text,
    "dub": _film,
}
"""How the input of each is made."""


if __name__ == "__main__":
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    main()
