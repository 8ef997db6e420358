"""Dagster's home of this installation: dagster.yaml and workspace.yaml, written anew at each start.

Dagster itself is never imported: its programs read these files. What each key means is in Dagster's "instance
configuration" reference; what is said here is why it has its value.
"""

from pathlib import Path
from typing import Any

import yaml

from audiomill.platform.sockets import code_server_socket
from audiomill.settings import Settings

DATABASE_VARIABLE = "AUDIOMILL_DAGSTER_STORAGE_URL"
"""Where dagster.yaml finds its database: in the environment, so that no password lies in a file."""
RESOURCE_CLASS_TAG = "audiomill/resource_class"
SENSOR_THREADS = 16
SUPERVISION_SLOTS = 1
"""Runs beside the batches: the daily tables."""


def dagster_home(settings: Settings) -> Path:
    """DAGSTER_HOME of this installation."""
    return settings.data_dir.resolve() / "dagster"


def dagster_yaml(settings: Settings) -> dict[str, Any]:
    """The instance: PostgreSQL storage, the queue and its slots, monitoring, retention."""
    home = dagster_home(settings)
    batch_runs = settings.cpu.cpu_runs + settings.cpu.gpu_runs + settings.cpu.remote_runs
    return {
        "storage": _storage(settings),
        "run_queue": {
            "max_concurrent_runs": batch_runs + SUPERVISION_SLOTS,
            "dequeue_interval_seconds": settings.dagster.dequeue_interval_seconds,
            # While the code server restarts, runs wait for it instead of failing at once.
            "max_user_code_failure_retries": 30,
            "user_code_failure_retry_delay": 10,
            # What a run needs is said by its tag: pools belong to ops, whatever engine they use.
            "tag_concurrency_limits": [
                {"key": RESOURCE_CLASS_TAG, "value": "cpu", "limit": settings.cpu.cpu_runs},
                {"key": RESOURCE_CLASS_TAG, "value": "gpu", "limit": settings.cpu.gpu_runs},
                {"key": RESOURCE_CLASS_TAG, "value": "remote", "limit": settings.cpu.remote_runs},
            ],
        },
        "run_monitoring": {
            "enabled": True,
            "poll_interval_seconds": 15,
            "start_timeout_seconds": 180,
            # Without it a cancelled run can keep its slot.
            "free_slots_after_run_end_seconds": 30,
        },
        # Whether a broken batch is tried again is decided by its lease, not by Dagster.
        "run_retries": {"enabled": False, "retry_on_asset_or_op_failure": False},
        # A thread for every sensor: two of them wait for work, and a slow one must not hold up the others.
        "sensors": {"use_threads": True, "num_workers": SENSOR_THREADS},
        "schedules": {"use_threads": True, "num_workers": 2},
        # A sensor ticks every few seconds: its skipped ticks would be most of the database.
        "retention": {
            "sensor": {"purge_after_days": {"skipped": 1, "success": 7, "failure": 30, "started": 1}},
            "schedule": {"purge_after_days": 90},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home / "compute_logs")},
        },
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home)},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }


def _storage(settings: Settings) -> dict[str, Any]:
    """Dagster's own PostgreSQL storage, or ours around it that keeps its connections."""
    config = {"postgres_url": {"env": DATABASE_VARIABLE}}
    if not settings.dagster.pooled_storage:
        return {"postgres": config}
    return {"custom": {"module": "resources.dagster_storage", "class": "PooledPostgresStorage", "config": config}}


def workspace_yaml(settings: Settings) -> dict[str, Any]:
    """The workspace: one long-lived code server (docs/decisions/0004-one-code-server.md).

    By a Unix socket: whoever reaches its port runs any command (docs/decisions/0019-the-code-server-has-no-port.md).
    """
    return {
        "load_from": [
            {
                "grpc_server": {
                    "socket": str(code_server_socket(settings.data_dir)),
                    "location_name": "audiomill",
                }
            }
        ]
    }


def write_instance(settings: Settings) -> Path:
    """Write both files, whole or not at all, and return Dagster's home."""
    home = dagster_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    for name, content in (("dagster.yaml", dagster_yaml(settings)), ("workspace.yaml", workspace_yaml(settings))):
        partial = home / f".{name}.partial"
        partial.write_text(
            f"# Written by `audiomill up` at each start: change the settings instead.\n{yaml.safe_dump(content)}"
        )
        partial.replace(home / name)
    return home


def database_variable(url: str) -> str:
    """Dagster speaks psycopg2; a bare `postgresql://` means another driver from SQLAlchemy 2.1 on."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg2{separator}{rest}" if scheme in {"postgresql", "postgres"} else url
