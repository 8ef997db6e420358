"""A whole platform for a benchmark, as `audiomill up` makes it, on free ports and in a folder of its own; and what a
benchmark asks it. Not here: measuring.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Row, text

from audiomill.accounts.keys import create_key
from audiomill.database.connection import Database
from audiomill.operators.key import bearer
from audiomill.platform.lifecycle import DEFAULT_WORKSPACE, Platform
from audiomill.platform.processes import free_ports
from audiomill.settings import Settings
from audiomill.storage.factory import open_store
from audiomill.storage.store import ObjectStore

ROOT = Path(__file__).resolve().parents[1]
_WAYS = tuple(f"AUDIOMILL_DAGSTER__{name}" for name in ("DEQUEUE", "POOLED", "TICK", "WARM"))
KEPT = ("AUDIOMILL_BATCHING__", "AUDIOMILL_CPU__", "AUDIOMILL_INBOX__", *_WAYS)
"""What may be set from outside, to see what it does. All else is the benchmark's own: no real platform is met."""
END_SECONDS = 120.0
_RUNS = "{ runsOrError(limit: 1) { ... on Runs { count } } }"
_LIVE = (
    "{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}, limit: 1) "
    "{ ... on Runs { count } } }"
)


@dataclass(frozen=True)
class RunningPlatform:
    """A platform that answers."""

    platform: Platform
    settings: Settings
    database: Database
    store: ObjectStore
    key: str

    @property
    def inbox(self) -> Path:
        """The folder that stands for the bucket's inbox."""
        return self.settings.data_dir / "store" / "inbox" / DEFAULT_WORKSPACE

    def rows(self, statement: str, **values: Any) -> list[Row[Any]]:  # noqa: ANN401 - SQL values
        """Rows of audiomill's own database."""
        with self.database.session() as session:
            return list(session.execute(text(statement), values).all())

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:  # noqa: ANN401 - GraphQL values
        """What Dagster says. Raises RuntimeError with its errors."""
        url = f"{self.settings.dagster_ui_url}/graphql"
        body = (
            httpx.post(url, json={"query": query, "variables": variables}, headers=bearer(self.settings), timeout=60)
            .raise_for_status()
            .json()
        )
        if body.get("errors"):
            raise RuntimeError(str(body["errors"]))
        return dict(body["data"])

    def run_count(self) -> int:
        """Dagster runs since the platform began."""
        return int(self.graphql(_RUNS)["runsOrError"]["count"])

    def wait_for_runs(self) -> None:
        """Until no run is live: a run ends a moment after its last job."""
        wait_until(lambda: int(self.graphql(_LIVE)["runsOrError"]["count"]) == 0, END_SECONDS, "all runs ended", 0.5)

    def check(self) -> None:
        """Raises RuntimeError when a program of the platform is gone."""
        if (broken := self.platform.broken()) is not None:
            raise RuntimeError(broken)


def wait_until(reached: Callable[[], bool], seconds: float, what: str, pause: float = 0.2) -> None:
    """Look again and again. Raises TimeoutError that says what did not come."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


@contextmanager
def running_platform(extra: list[str]) -> Iterator[RunningPlatform]:
    """Start, give, stop. `extra`: engine entries beside the catalogue's, first in `auto`'s order."""
    with tempfile.TemporaryDirectory(prefix="audiomill-benchmark-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the embedded server may run as another user
        api, webserver = free_ports(2)
        with _environment({"PYTHONPATH": str(ROOT)}):
            settings = Settings(
                data_dir=Path(folder) / "data",
                engines={"extra": extra, "fetch_default_weights": False},
                api={"port": api},
                dagster={"port": webserver},
            )
        variables = {
            "PYTHONPATH": str(ROOT),
            "AUDIOMILL_ENGINES__EXTRA": settings.engines.model_dump_json(include={"extra"}).partition(":")[2][:-1],
            "AUDIOMILL_ENGINES__FETCH_DEFAULT_WEIGHTS": "false",
            # Speed is measured, not quality: what is dropped names no language, and is a synthetic voice.
            "AUDIOMILL_QUALITY__LEAST_CONFIDENCE": "0",
            "AUDIOMILL_API__PORT": str(api),
            "AUDIOMILL_DAGSTER__PORT": str(webserver),
        }
        with _environment(variables):
            platform = Platform(settings, purpose="benchmark")
            platform.start()
            try:
                platform.wait_ready()
                yield from _opened(platform, settings)
            finally:
                platform.stop()


def _opened(platform: Platform, settings: Settings) -> Iterator[RunningPlatform]:
    database = Database.from_settings(settings)
    try:
        with database.session() as session:
            key = create_key(session, workspace_id=DEFAULT_WORKSPACE, name="benchmark").plaintext
        yield RunningPlatform(platform, settings, database, open_store(settings), key)
    finally:
        database.dispose()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """This process's environment with `variables`, without settings of others: the platform's programs inherit it."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AUDIOMILL_") and not name.startswith(KEPT):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
