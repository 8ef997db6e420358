"""The one owner of the machine's CPU cores: whoever computes takes cores first, in whatever process.

Belongs here: the budget. Not here: how many cores an engine wants, threads, processes.

Each core is a token file; holding it is an exclusive `flock`. The kernel frees a lock when its process ends, however it
ends, so a `kill -9` never loses a core. Takers queue on a gate file first: the kernel serves waiters on one lock in the
order they came, and only the one at the gate gathers tokens, so two takers of several cores cannot each hold half.

Who waits says so in a file of its own, and who holds a core in that core's: that is how a run which does not advance
is told from one that hangs.
"""

import fcntl
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

# How often the one taker at the gate looks for a free token. Short beside the shortest call of any engine (a sentence
# of espeak-ng: some milliseconds); one open(2)-free flock call per core each time.
POLL_SECONDS = 0.002

_PID_BYTES = 20


class CoreBudget:
    """`cores` tokens shared by all processes of this machine that name the same directory.

    Picklable, so that worker processes take from the same budget. Do not fork while holding cores: the child would
    share the locks.
    """

    def __init__(self, directory: Path, cores: int) -> None:
        if cores < 1:
            raise ValueError(f"cores must be at least 1, not {cores}")
        self.directory = Path(directory)
        self.cores = cores

    @contextmanager
    def take(self, count: int = 1) -> Iterator[int]:
        """Hold `count` cores, at most all of them; waits its turn. Gives the number held.

        Raises RuntimeError when this thread already holds cores: it could wait for itself for ever.
        """
        key = str(self.directory)
        if key in _held.directories:
            raise RuntimeError("this thread already holds cores: take all that a call needs at once")
        wanted = max(1, min(count, self.cores))
        self.directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as tokens:
            with self._said_to_wait(), _opened(self.directory / "gate") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
                self._gather(wanted, tokens)
            _held.directories.add(key)
            tokens.callback(_held.directories.discard, key)
            yield wanted

    def only_waits(self, pids: Collection[int]) -> bool:
        """Whether one of these processes, which live, waits for cores now, and none of them holds one.

        Who holds a core computes, or hangs: then all others may wait for it for ever, its own among them.
        """
        waits = any(int(path.name.split("-")[1]) in pids for path in self.directory.glob("waits-*"))
        return waits and not any(map(pids.__contains__, self._holders()))

    def _holders(self) -> Iterator[int]:
        for path in self.directory.glob("core-*"):
            with _opened(path) as token:
                try:
                    fcntl.flock(token, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield int(os.pread(token, _PID_BYTES, 0) or 0)

    @contextmanager
    def _said_to_wait(self) -> Iterator[None]:
        # What a killed process leaves is overwritten, and removed, by a later one of its numbers; nobody else reads it.
        path = self.directory / f"waits-{os.getpid()}-{threading.get_ident()}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def _gather(self, wanted: int, tokens: ExitStack) -> None:
        """Lock `wanted` tokens, as they become free. Only called behind the gate."""
        free = [tokens.enter_context(_opened(self.directory / f"core-{index}")) for index in range(self.cores)]
        taken = 0
        while True:
            for descriptor in list(free):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                os.pwrite(descriptor, str(os.getpid()).encode().ljust(_PID_BYTES), 0)
                free.remove(descriptor)
                taken += 1
                if taken == wanted:
                    return
            time.sleep(POLL_SECONDS)


class _Held(threading.local):
    """The budgets that this thread holds cores of."""

    def __init__(self) -> None:
        self.directories: set[str] = set()


_held = _Held()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of one's own (locks belong to it), closed at the end: closing frees the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
