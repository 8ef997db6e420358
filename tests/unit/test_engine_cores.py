"""The core budget between real processes: never more than there are, nothing lost to a killed holder."""

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from audiomill.engines.cores import CoreBudget

SPAWN = multiprocessing.get_context("spawn")


def _hold(directory: Path, cores: int, count: int, held, release) -> None:
    with CoreBudget(directory, cores).take(count) as got:
        held.put((os.getpid(), got))
        release.wait(60)


def _count_holders(directory: Path, cores: int, take: int, log: Path, times: int) -> None:
    """Append a line when coming and going; O_APPEND keeps lines whole."""
    budget = CoreBudget(directory, cores)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(times):
        with budget.take(take) as got:
            os.write(descriptor, f"+{got}\n".encode())
            time.sleep(0.003)
            os.write(descriptor, f"-{got}\n".encode())
    os.close(descriptor)


def test_processes_and_threads_never_hold_more_than_there_are(tmp_path):
    log = tmp_path / "log"
    processes = [SPAWN.Process(target=_count_holders, args=(tmp_path / "c", 3, take, log, 12)) for take in (1, 2, 3, 1)]
    threads = [threading.Thread(target=_count_holders, args=(tmp_path / "c", 3, take, log, 12)) for take in (1, 2)]
    for worker in [*processes, *threads]:
        worker.start()
    for worker in [*processes, *threads]:
        worker.join(60)
    assert all(process.exitcode == 0 for process in processes)
    held, most = 0, 0
    for line in log.read_text().split():
        held += int(line)
        most = max(most, held)
    assert most == 3
    assert held == 0
    assert len(log.read_text().split()) == 2 * 12 * 6


def test_a_killed_holder_loses_nothing(tmp_path):
    held, release = SPAWN.Queue(), SPAWN.Event()
    holder = SPAWN.Process(target=_hold, args=(tmp_path, 2, 2, held, release))
    holder.start()
    pid, _ = held.get(timeout=60)
    taken = threading.Event()

    def take() -> None:
        with CoreBudget(tmp_path, 2).take(2):
            taken.set()

    waiter = threading.Thread(target=take)
    waiter.start()
    assert not taken.wait(0.2), "both cores are held by the other process"
    os.kill(pid, signal.SIGKILL)
    holder.join(60)
    assert taken.wait(120)
    waiter.join(120)


def test_a_killed_waiter_does_not_block_the_queue(tmp_path):
    held, release = SPAWN.Queue(), SPAWN.Event()
    with CoreBudget(tmp_path, 1).take(1):
        waiter = SPAWN.Process(target=_hold, args=(tmp_path, 1, 1, held, release))
        waiter.start()
        time.sleep(0.5)  # it is behind the gate by now, or not yet: both must go well
        os.kill(waiter.pid, signal.SIGKILL)
        waiter.join(60)
    with CoreBudget(tmp_path, 1).take(1) as got:
        assert got == 1


def test_who_wants_all_cores_is_not_overtaken_for_ever(tmp_path):
    budget = CoreBudget(tmp_path, 2)
    stop, got_all = threading.Event(), threading.Event()

    def small() -> None:
        while not stop.is_set():
            with budget.take(1):
                time.sleep(0.002)

    def large() -> None:
        with budget.take(2):
            got_all.set()

    threads = [threading.Thread(target=small) for _ in range(4)] + [threading.Thread(target=large)]
    for thread in threads:
        thread.start()
    try:
        assert got_all.wait(120)
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)


def test_two_that_want_all_cores_never_hold_half_each(tmp_path):
    budget = CoreBudget(tmp_path, 2)

    def both() -> None:
        with budget.take(2):
            pass

    for _ in range(15):
        # The first core is busy, so the first taker gets the second core and waits: then it is a race for the first.
        with (tmp_path / "core-0").open("a") as busy:
            fcntl.flock(busy, fcntl.LOCK_EX)
            takers = [threading.Thread(target=both, daemon=True) for _ in range(2)]
            for taker in takers:
                taker.start()
            time.sleep(0.02)
        for taker in takers:
            taker.join(120)
        assert not any(taker.is_alive() for taker in takers), "each holds a core and waits for the other's"


def test_more_than_there_are_means_all(tmp_path):
    with CoreBudget(tmp_path, 2).take(64) as got:
        assert got == 2


def test_a_thread_that_holds_cores_may_not_wait_for_itself(tmp_path):
    budget = CoreBudget(tmp_path, 1)
    with budget.take(1), pytest.raises(RuntimeError, match="already holds"), CoreBudget(tmp_path, 1).take(1):
        pass
    with budget.take(1):
        pass


def test_an_error_in_the_block_frees_the_cores(tmp_path):
    budget = CoreBudget(tmp_path, 1)
    with pytest.raises(ValueError, match="mine"), budget.take(1):
        raise ValueError("mine")
    with budget.take(1):
        pass


def test_no_cores_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        CoreBudget(tmp_path, 0)
