"""`python -m resources.webserver`: Dagster's webserver in this process, with audiomill's guard before it.

Dagster's own command offers no place for a guard, and a proxy of ours would leave its port open behind it. What is let
through is decided in audiomill/operators/guard.py.
"""

import os
from pathlib import Path
from typing import Any

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from audiomill.operators.guard import Guard, policy_of
from audiomill.settings import Settings, get_settings
from resources.bounded_http import BoundedH11

# As `dagster-webserver` has them by default.
STATEMENT_TIMEOUT_MS = 15_000
POOL_RECYCLE_SECONDS = 3600
POOL_MAX_OVERFLOW = 20
LIVE_DATA_POLL_MS = 2000


def serve(settings: Settings, workspace_file: Path) -> None:
    """Until SIGTERM. Raises ConfigurationError before it listens."""
    policy = policy_of(settings)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_SECONDS, POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget([str(workspace_file)])
        with WorkspaceProcessContext(instance, workspace_load_target=target) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=LIVE_DATA_POLL_MS)
            uvicorn.run(Guard(app, policy), **server_options(settings))


def server_options(settings: Settings) -> dict[str, Any]:
    """How uvicorn listens."""
    return {
        "host": settings.dagster.host,
        "port": settings.dagster.port,
        "log_level": "warning",
        # httptools gathers a head of any size before the guard sees it, and stops all else meanwhile; h11 refuses it.
        "http": BoundedH11,
        # An open page's websocket would hold a stop for ever.
        "timeout_graceful_shutdown": 5,
    }


if __name__ == "__main__":
    serve(get_settings(), Path(os.environ["DAGSTER_HOME"]) / "workspace.yaml")
