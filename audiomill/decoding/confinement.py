"""Limits that a decoding process puts on itself: memory, time, size of what it writes, and its parent's life.

What it may ask of the kernel is `system_calls`.
"""

import ctypes
import os
import resource
import signal
from pathlib import Path

from audiomill.decoding.system_calls import refuse_system_calls

_PR_SET_PDEATHSIG = 1
_DESCRIPTORS = 16


def end_with(parent: int) -> None:
    """Be killed when the thread that started this process ends, whatever it ends by. Raises SystemExit if it has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


def confine() -> bool:
    """Give up all that decoding does not need, once everything is imported. False: the kernel offers no seccomp."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a customer's sound
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    if hasattr(resource, "RLIMIT_NPROC"):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    return refuse_system_calls()


class Limits:
    """The limits of one file, set anew for each; the process dies, or is refused, when it goes beyond."""

    def __init__(self) -> None:
        self._mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()

    def set(self, *, memory_bytes: int, cpu_seconds: float, written_bytes: int) -> None:
        """memory_bytes: beyond what the libraries take at rest."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        until = int(used.ru_utime + used.ru_stime + cpu_seconds) + 1
        for limit, value in (
            (resource.RLIMIT_AS, self._mapped + memory_bytes),
            (resource.RLIMIT_CPU, until),  # SIGXCPU, which kills
            (resource.RLIMIT_FSIZE, written_bytes),  # EFBIG: Python ignores SIGXFSZ
        ):
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
