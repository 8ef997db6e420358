"""The engine's time: what calls are charged adds up to what the clock says, however they overlap."""

import threading
from contextlib import ExitStack

import pytest

from audiomill.milling.engine_time import EngineTime


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lone_call_is_charged_what_it_took() -> None:
    clock = Clock()
    with EngineTime(clock).call() as charge:
        clock.now += 3
    assert charge.seconds == pytest.approx(3)


def test_calls_side_by_side_share_what_passes() -> None:
    clock = Clock()
    engine = EngineTime(clock)
    with ExitStack() as first_call, ExitStack() as second_call:
        first = first_call.enter_context(engine.call())
        clock.now += 4
        second = second_call.enter_context(engine.call())
        clock.now += 6
        first_call.close()
        clock.now += 5
        second_call.close()
    assert (first.seconds, second.seconds) == (pytest.approx(4 + 3), pytest.approx(3 + 5))
    assert first.seconds + second.seconds == pytest.approx(15)


def test_time_in_which_nothing_runs_is_nobodys() -> None:
    clock = Clock()
    engine = EngineTime(clock)
    charges = []
    for _ in range(3):
        clock.now += 100
        with engine.call() as charge:
            clock.now += 2
        charges.append(charge.seconds)
    assert charges == [pytest.approx(2)] * 3


def test_a_call_that_breaks_ends_too() -> None:
    clock = Clock()
    engine = EngineTime(clock)
    with pytest.raises(ValueError, match="broke"), engine.call():
        raise ValueError("broke")
    with engine.call() as charge:
        clock.now += 1
    assert charge.seconds == pytest.approx(1)


def test_from_many_threads_no_more_is_charged_than_passed() -> None:
    engine = EngineTime()
    charged: list[float] = []
    together = threading.Barrier(8)

    def work() -> None:
        with engine.call() as charge:
            together.wait(30)
        charged.append(charge.seconds)

    threads = [threading.Thread(target=work) for _ in range(8)]
    with EngineTime().call() as whole:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(charged) == 8
    assert sum(charged) <= whole.seconds
