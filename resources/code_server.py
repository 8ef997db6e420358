"""The code server with warm run processes: `python -m resources.code_server`, the arguments of `dagster api grpc`.

Dagster's server starts a process for each run by `spawn`: a new interpreter that imports everything anew, 2 s of CPU.
Here they are forked from one that has imported it (docs/decisions/0031-warm-run-processes.md).

What is touched beyond Dagster's public interface: the name under which its command finds the server's class, and
`_mp_ctx`, by which that class makes processes. A test says when they move; without `_mp_ctx` runs are spawned, and
`AUDIOMILL_DAGSTER__WARM_RUNS=false` starts Dagster's own command.
"""

from multiprocessing import forkserver
from typing import Any, Final

import dagster._grpc.server
import structlog

from audiomill.jobs.batches.waiting import process_stops
from resources.asking_to_end import ForkingContext

log = structlog.get_logger(__name__)
PRELOADED: Final = "resources.fork_server"


class WarmApiServer(dagster._grpc.server.DagsterApiServer):
    """Dagster's server whose runs are forked, and whose ticks end when it is asked to stop."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - Dagster's own, handed on
        super().__init__(*arguments, **named)
        if hasattr(self, "_mp_ctx"):
            self._mp_ctx = ForkingContext()  # type: ignore[assignment]
        else:
            log.warning("runs_are_spawned", reason="Dagster makes processes in another way than it did")

    def cleanup(self) -> None:
        """Called when the server stops, before it waits for calls under way."""
        process_stops.set()
        super().cleanup()


def main() -> None:
    """Serve until told to stop."""
    # Here, because every run reads this module once more, as multiprocessing has it.
    from dagster._cli.api import grpc_command  # noqa: PLC0415 - as above

    # `__main__`, the default, would be this very module, with a second server's class in it.
    forkserver.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()
    dagster._grpc.server.DagsterApiServer = WarmApiServer  # type: ignore[misc]
    grpc_command()


if __name__ == "__main__":
    main()
