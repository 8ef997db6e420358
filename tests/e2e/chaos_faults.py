"""What is done to a platform: each fault begins, lasts, and is undone. Chosen by a seed, so that it can be had again.

A fault that finds nothing to hit (no run at work just then) says so and does nothing.
"""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
import psycopg

from audiomill.errors import OperatorError
from tests.e2e.chaos_platform import Chaotic

STOPPED_SECONDS = (3.0, 16.0)
"""How long a process sleeps: less than the life of a lease, and more."""
HANG_SECONDS = (4.0, 15.0)
RUN_SECONDS = 30.0


@dataclass(frozen=True)
class Fault:
    """`apply` does it and undoes it; returns what was hit, "" for nothing."""

    name: str
    apply: Callable[[Chaotic, random.Random], str]


def _send(process: psutil.Process, number: int) -> str:
    with suppress(psutil.Error):
        process.send_signal(number)
        return f"process {process.pid}"
    return ""


def _asleep(processes: list[psutil.Process], seconds: float) -> str:
    """SIGSTOP, a pause, SIGCONT. Those that die meanwhile are no loss."""
    hit = [process for process in processes if _send(process, signal.SIGSTOP)]
    try:
        time.sleep(seconds if hit else 0)
    finally:
        for process in hit:
            _send(process, signal.SIGCONT)
    return f"{len(hit)} processes for {seconds:.0f} s" if hit else ""


def _run(number: int) -> Callable[[Chaotic, random.Random], str]:
    def apply(chaotic: Chaotic, chance: random.Random) -> str:
        runs = _runs(chaotic)
        return _send(chance.choice(runs), number) if runs else ""

    return apply


def _run_asleep(chaotic: Chaotic, chance: random.Random) -> str:
    runs = _runs(chaotic)
    return _asleep([chance.choice(runs)], chance.uniform(*STOPPED_SECONDS)) if runs else ""


def _runs(chaotic: Chaotic) -> list[psutil.Process]:
    """Processes of runs at work, waited for a while: between two batches there are none."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        # The database may be in any state: then there is nothing to be hit yet.
        with suppress(OperatorError, psycopg.Error, OSError):
            if runs := chaotic.run_processes():
                return runs
        time.sleep(0.2)
    return []


def _program(name: str, number: int) -> Callable[[Chaotic, random.Random], str]:
    def apply(chaotic: Chaotic, chance: random.Random) -> str:
        process = chaotic.program(name)
        return _send(process, number) if process else ""

    return apply


def _program_asleep(name: str) -> Callable[[Chaotic, random.Random], str]:
    def apply(chaotic: Chaotic, chance: random.Random) -> str:
        process = chaotic.program(name)
        return _asleep([process], chance.uniform(*STOPPED_SECONDS)) if process else ""

    return apply


def _database(number: int) -> Callable[[Chaotic, random.Random], str]:
    def apply(chaotic: Chaotic, chance: random.Random) -> str:
        processes = chaotic.postgres_processes()
        return _send(processes[0], number) if processes else ""

    return apply


def _database_asleep(chaotic: Chaotic, chance: random.Random) -> str:
    return _asleep(chaotic.postgres_processes(), chance.uniform(*HANG_SECONDS))


def _store_hangs(chaotic: Chaotic, chance: random.Random) -> str:
    return _asleep([chaotic.store_server], chance.uniform(*HANG_SECONDS))


def _disk_full(chaotic: Chaotic, chance: random.Random) -> str:
    filler = chaotic.scratch / "filler"
    if not chaotic.scratch.is_mount():
        return ""
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(64 * 1024))
        time.sleep(chance.uniform(*HANG_SECONDS))
    finally:
        filler.unlink(missing_ok=True)
    return "scratch"


FAULTS = (
    Fault("a run is killed", _run(signal.SIGKILL)),
    Fault("a run is asked to end", _run(signal.SIGTERM)),
    Fault("a run sleeps", _run_asleep),
    Fault("the code server is killed", _program("code-server", signal.SIGKILL)),
    Fault("the code server is asked to end", _program("code-server", signal.SIGTERM)),
    Fault("the code server sleeps", _program_asleep("code-server")),
    Fault("the daemon is killed", _program("daemon", signal.SIGKILL)),
    Fault("the daemon is asked to end", _program("daemon", signal.SIGTERM)),
    Fault("the daemon sleeps", _program_asleep("daemon")),
    Fault("the API is killed", _program("api", signal.SIGKILL)),
    Fault("the API is asked to end", _program("api", signal.SIGTERM)),
    Fault("the API sleeps", _program_asleep("api")),
    Fault("the database is killed", _database(signal.SIGKILL)),
    Fault("the database is asked to end", _database(signal.SIGINT)),
    Fault("the database sleeps", _database_asleep),
    Fault("the store hangs", _store_hangs),
    Fault("the disk is full", _disk_full),
)


def schedule(seed: int, rounds: int) -> list[tuple[Fault, float]]:
    """Every fault `rounds` times in an order of chance, each with the pause before it in seconds."""
    chance = random.Random(seed)
    order = [fault for fault in FAULTS for _ in range(rounds)]
    chance.shuffle(order)
    return [(fault, chance.uniform(1.0, 5.0)) for fault in order]
