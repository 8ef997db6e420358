"""The processes of runs: which one owns a batch, what was inside an engine call when it died, how it is ended.

What is inside a call is noted in a file of this machine (`<data_dir>/run/calls/<run id>`), not in the database: the
note outlives the process, which is all that it must do, costs some 20 µs, and an orderly end can take it away while the
database is not there. A machine that went down leaves no proof, and is none (docs/decisions/0013-blame-needs-proof.md).
Nor does a process that was killed: only one that crashed by itself says so, in the same file, in its last moment.
"""

import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import psutil
import structlog

from audiomill.settings import Settings

_SAME_START_SECONDS = 2.0
"""Start times of one process, as two others work them out, differ by a little; a process id is not used again that
fast."""

_LOOK_SECONDS = 0.05

_BY_ITS_INPUT = ("Segmentation fault", "Aborted", "Floating point exception", "Floating-point exception")
"""faulthandler's words for what `audiomill.engines.deaths` takes for proof."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Fate:
    """What became of a run's process, as far as it is proven. `died`: it ended without an orderly word; `inside`: items
    inside engine calls when it crashed by itself. Killed (by an operator, a deploy, the kernel short of memory, for
    which a neighbour's hunger is enough), it proves nothing of what it worked on."""

    died: bool = False
    inside: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RunProcess:
    """A process of some machine, told from a later one that has the same id by its start.

    started: seconds after the machine's own, which do not change when its clock is set.
    """

    machine: str
    pid: int
    started: float

    def __str__(self) -> str:
        return f"{self.machine} {self.pid} {self.started:.2f}"

    @classmethod
    def parse(cls, text: str | None) -> "RunProcess | None":
        """The reverse of `str`; None for what is none."""
        parts = (text or "").split()
        try:
            return cls(parts[0], int(parts[1]), float(parts[2])) if len(parts) == 3 else None  # noqa: PLR2004 - fields
        except ValueError:
            return None

    @property
    def here(self) -> bool:
        """Whether it is, or was, a process of this machine since it was started."""
        return self.machine == this_machine()

    def process(self) -> psutil.Process | None:
        """The process; None when it is gone, or is another machine's."""
        if not self.here:
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(_started(process) - self.started) < _SAME_START_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


@lru_cache(maxsize=1)
def this_machine() -> str:
    """This machine since its last start; two containers of one machine are two."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot[:8]}"


def this_worker() -> RunProcess:
    """The process that asks."""
    return worker_of(psutil.Process())


def worker_of(process: psutil.Process) -> RunProcess:
    """A process of this machine. Raises psutil.Error when it is gone."""
    return RunProcess(this_machine(), process.pid, _started(process))


def _started(process: psutil.Process) -> float:
    # Both are by the clock as it is set now. By the clock alone, one that is set forward makes living processes dead.
    return float(process.create_time() - psutil.boot_time())


class CallNotes:
    """The file that says which items are inside engine calls. Present as long as its process is at work.

    Behind that the process writes when a signal of its own making ends it: which one, and where in the code. No other
    death can be told from one by somebody's hand.
    """

    def __init__(self, settings: Settings, run_id: str) -> None:
        self._path = _path(settings, run_id)
        self._worker = str(this_worker())
        self._descriptor: int | None = None
        self._crash: int | None = None
        self._crashes_were_told = False
        self._length = 0
        # A call may end in one thread while another gives the batch back. A signal may come in the middle of either.
        self._lock = threading.RLock()

    def open(self) -> None:
        """Begin, with nothing inside. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.inside(())
        self._crash = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._crashes_were_told = faulthandler.is_enabled()
        faulthandler.enable(self._crash, all_threads=False)

    def inside(self, item_ids: Collection[str]) -> None:
        """Note all that are inside calls now. Raises OSError."""
        with self._lock:
            if self._descriptor is None:
                return
            note = json.dumps({"worker": self._worker, "inside": sorted(item_ids)}).encode()
            # One write, padded over what stood there: whoever reads sees the one note or the other.
            os.pwrite(self._descriptor, note.ljust(self._length), 0)
            self._length = max(self._length, len(note))

    def close(self) -> None:
        """End in good order: what is inside calls is given back, and is no proof of anything. Closing again is fine."""
        with self._lock:
            if self._crash is not None:
                faulthandler.disable()
                if self._crashes_were_told and sys.__stderr__ is not None:
                    faulthandler.enable(sys.__stderr__)
                os.close(self._crash)
                self._crash = None
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                self._path.unlink(missing_ok=True)


def fate_of(settings: Settings, run_id: str, worker: str | None) -> Fate:
    """What is proven of a run's process. Nothing is, when it lives, ended in good order, or is another machine's."""
    noted, inside, crashed = _read(_path(settings, run_id))
    known = RunProcess.parse(worker)
    if noted is None or known != noted or not noted.here or noted.process() is not None:
        return Fate()
    return Fate(died=True, inside=inside if crashed else frozenset())


def forget(settings: Settings, run_id: str) -> None:
    """Remove what a dead process noted, when it was acted upon."""
    _path(settings, run_id).unlink(missing_ok=True)


def left_notes(settings: Settings) -> list[str]:
    """Runs whose process is gone, or is another machine's, and left its note."""
    folder = _path(settings, "x").parent
    if not folder.is_dir():
        return []
    left = []
    for path in folder.iterdir():
        noted, _, _ = _read(path)
        if noted is None or noted.process() is None:
            left.append(path.name)
    return left


def end(workers: Sequence[RunProcess], *, grace_seconds: float) -> int:
    """End processes of this machine and their children: SIGTERM, `grace_seconds`, SIGKILL. Returns how many were."""
    living = [process for worker in workers if (process := worker.process()) is not None]
    everyone = list(living)
    for process in living:
        try:
            everyone += process.children(recursive=True)
            process.terminate()
        except psutil.Error:
            continue
    # Looked at, not waited for: where it is a child of ours, waiting would take its exit from who started it.
    deadline = time.monotonic() + grace_seconds
    while any(worker.process() is not None for worker in workers) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    for process in everyone:
        try:
            # psutil looks at the start time first: an id that was given anew meanwhile is not hit.
            process.kill()
        except psutil.Error:
            continue
    return len(living)


def end_this_process() -> NoReturn:
    """End at once, with all children: a thread hangs in foreign code, and nothing else would end it."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue
    sys.stderr.flush()
    os._exit(70)


def _path(settings: Settings, run_id: str) -> Path:
    return settings.data_dir / "run" / "calls" / run_id


def _read(path: Path) -> tuple[RunProcess | None, frozenset[str], bool]:
    """Who wrote, what was inside calls, and whether it crashed by itself, by what it worked on."""
    try:
        text = path.read_text(errors="replace")
        found, end = json.JSONDecoder().raw_decode(text)
        crashed = any(words in text[end:] for words in _BY_ITS_INPUT)
        return RunProcess.parse(found["worker"]), frozenset(found["inside"]), crashed
    except (OSError, ValueError, KeyError, TypeError):
        return None, frozenset(), False
