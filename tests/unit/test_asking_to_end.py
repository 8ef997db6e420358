"""Asking a run's process to end, when that process is stopped or dead: the one who asks goes on."""

import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

import pytest

from resources.asking_to_end import AskingToEnd, ForkingContext


def sleep_on(event: AskingToEnd, begun: AskingToEnd) -> None:
    begun.set()
    event.wait()


@pytest.fixture
def sleeper() -> Iterator[tuple[AskingToEnd, BaseProcess]]:
    context = ForkingContext()
    event, begun = context.Event(), context.Event()
    process = context.Process(target=sleep_on, args=(event, begun))
    process.start()
    assert begun.wait(60)
    # It sleeps when the event counts a sleeper.
    while event._cond._sleeping_count.get_value() == 0:  # type: ignore[attr-defined]  # multiprocessing's own
        pass
    yield event, process
    process.kill()
    process.join()


def asked_in_time(event: AskingToEnd) -> bool:
    asking = threading.Thread(target=lambda: (event.set(), event.is_set()), daemon=True)
    asking.start()
    asking.join(10)
    return not asking.is_alive() and event.is_set()


def test_one_that_sleeps_is_woken(sleeper: tuple[AskingToEnd, BaseProcess]) -> None:
    event, process = sleeper
    assert asked_in_time(event)
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("sent", [signal.SIGSTOP, signal.SIGKILL])
def test_one_that_cannot_wake_holds_nobody_up(sleeper: tuple[AskingToEnd, BaseProcess], sent: signal.Signals) -> None:
    event, process = sleeper
    assert process.pid is not None
    os.kill(process.pid, sent)
    assert asked_in_time(event)
    if sent == signal.SIGSTOP:
        os.kill(process.pid, signal.SIGCONT)
        process.join(60)
        assert process.exitcode == 0
