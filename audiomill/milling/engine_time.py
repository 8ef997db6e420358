"""The engine's time by the clock, shared out among the calls that run side by side: its parts add up to what passed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Charge:
    """What one call is charged, known when it has ended."""

    seconds: float = 0.0


class EngineTime:
    """While n calls run, each is charged a nth of what passes. Safe to use from several threads.

    So the charges of a batch add up to the time in which its engine was at work: two calls of ten seconds side by side
    are ten seconds, not twenty, and a real-time factor made of them is one that an operator can plan with.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running = 0
        self._at = clock()
        self._each = 0.0
        """What a call that ran all along would have been charged."""

    @contextmanager
    def call(self) -> Iterator[Charge]:
        """Charge the time that the block takes."""
        charge = Charge()
        with self._lock:
            began = self._passed()
            self._running += 1
        try:
            yield charge
        finally:
            with self._lock:
                charge.seconds = self._passed() - began
                self._running -= 1

    def _passed(self) -> float:
        now = self._clock()
        if self._running:
            self._each += (now - self._at) / self._running
        self._at = now
        return self._each
