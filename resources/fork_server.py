"""What a run's process finds loaded. Imported by the code server's fork server alone, which forks each run from itself.

Nothing may be open here that two processes cannot share: no connection, no thread, no lock that is held. What is kept
for a process is made at first use (`resources/database.py`, `resources/dagster_storage.py`), which is after the fork.
"""

import atexit
import ctypes
import os
import signal
from multiprocessing import util

import dagster._grpc.impl
import dagster._grpc.server

import definitions

PRELOADED = (dagster._grpc.impl, dagster._grpc.server, definitions)
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


class _Runs:
    """What holds for the processes that are forked from this one, and not for those that these start."""

    def __init__(self) -> None:
        self._server = os.getpid()
        # SIGTERM goes to all processes of a program: the runs give their work back, and the fork server, which ends
        # when its last client does, must not go before them.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.register_at_fork(after_in_child=self._forked)
        util.register_after_fork(self, _Runs._begun)

    def _forked(self) -> None:
        if not self._is_run():
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # A run whose fork server was killed is said to have ended: then it must have.
        if hasattr(libc := ctypes.CDLL(None), "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def _begun(self) -> None:
        # A forked process leaves without what is to be done at its exit; a spawned one does it.
        if self._is_run():
            util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)

    def _is_run(self) -> bool:
        return os.getppid() == self._server


_runs = _Runs()
