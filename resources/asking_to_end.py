"""The event by which the code server asks a run's process to end: asking never waits for the process.

`multiprocessing.Event.set` waits until every process that sleeps on the event has woken. One that is stopped, or was
killed in its sleep, never does; Dagster's server would wait for it for ever with its lock in hand, and start no run
any more.
"""

from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from threading import Thread


class AskingToEnd(Event):
    """An event whose `set` returns at once, and whose `is_set` waits for nobody who sleeps."""

    _asked = False

    def set(self) -> None:
        """Ask; who sleeps is woken aside."""
        self._asked = True
        Thread(target=super().set, name="asking-to-end", daemon=True).start()

    def is_set(self) -> bool:
        """Whether this process has asked, or another."""
        return self._asked or super().is_set()


class ForkingContext(ForkServerContext):
    """multiprocessing's context for runs that are forked from the warm process."""

    def Event(self) -> AskingToEnd:  # noqa: N802 - multiprocessing's own name
        """As above."""
        return AskingToEnd(ctx=self.get_context())
