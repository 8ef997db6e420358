"""What a run's process finds loaded. Imported by the code server's fork server alone, which forks each run from itself.

Nothing may be open here that two processes cannot share: no connection, no thread, no lock that is held. What is kept
for a process is made at first use (`resources/database.py`, `resources/dagster_storage.py`), which is after the fork.
"""

import atexit
import ctypes
import os
import signal
from contextlib import suppress
from importlib import import_module
from multiprocessing import util
from typing import Final

import dagster._grpc.impl
import dagster._grpc.server
from PIL import Image

import definitions
from audiomill.catalogue.engines import ENGINES

PRELOADED: Final = (dagster._grpc.impl, dagster._grpc.server, definitions)

LATE_IMPORTS: Final = (
    # What Dagster imports when it makes an instance from its home, and executes a plan.
    "resources.dagster_storage",
    "psycopg2.extras",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.instance.runs.run_domain",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.system_config.composite_descent",
    "upath.implementations.local",
    # What the engines of the catalogue import, some of it when they are loaded or called.
    *(entry.implementation.partition(":")[0] for entry in ENGINES),
    "av.subtitles.stream",
    "espeakng_loader",
    "faster_whisper.vad",
    "loky.backend.fork_exec",
    "loky.backend.popen_loky_posix",
    "loky.backend.synchronize",
    "pocketsphinx",
)
"""What runs import when they need it, a second of CPU in each. Only what may be forked once it is imported: onnxruntime
starts a thread, and is left to them."""

for _name in LATE_IMPORTS:
    with suppress(ImportError, OSError):  # not installed here, or named otherwise by another version: runs find out
        import_module(_name)
Image.preinit()  # imports the formats of pictures

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
