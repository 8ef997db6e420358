"""Waiting for work: a sensor's tick that listens until something is queued, instead of many ticks that look.

PostgreSQL's triggers tell (migration 0007), so nothing is polled. Not here: what is done with the work, and following
single jobs (audiomill/jobs/events).
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import structlog
from psycopg import sql

from audiomill.database.connection import listening_url
from audiomill.settings import Settings

log = structlog.get_logger(__name__)

CHANNEL = "audiomill_work"
"""PostgreSQL's NOTIFY channel: an item was queued, or a batch needs a run. The payload is empty."""

LOOK_SECONDS = 0.5
"""How often a wait looks whether this process, or the platform, is asked to stop."""

APPLICATION_NAME = "audiomill-waiting"
"""What an operator sees in `pg_stat_activity`."""

process_stops = threading.Event()
"""Set when this process is asked to end: who waits returns."""


def stop_mark(settings: Settings) -> Path:
    """The file that says that the platform of this data directory is being stopped."""
    return settings.data_dir / "stopping"


def asked_to_stop(settings: Settings) -> bool:
    """Whether this process or its platform is being stopped: no tick may keep them from it."""
    return process_stops.is_set() or stop_mark(settings).exists()


class Bell:
    """Rings when there may be work. Made by `listening`, before one looks: what comes after that look rings."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]] | None, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    def wait(self, seconds: float) -> bool:
        """Until it rings; False when nothing rang within that time, or waiting ended for another reason.

        With no seconds: whether it rang before. A lost connection and a stop end the wait: the next tick listens anew.
        """
        if self._connection is None:
            return False
        deadline = time.monotonic() + seconds
        try:
            while True:
                left = max(0.0, deadline - time.monotonic())
                for _ in self._connection.notifies(timeout=min(LOOK_SECONDS, left), stop_after=1):
                    return True
                if left == 0 or asked_to_stop(self._settings):
                    return False
        except (psycopg.Error, OSError) as error:
            log.warning("waiting_ended", error=type(error).__name__)
        return False


@contextmanager
def listening(url: str, settings: Settings, *, wait: bool = True) -> Iterator[Bell]:
    """A bell of its own connection, which goes past PgBouncer where `direct_url` says so.

    `url`: of audiomill's database. Where nobody can be heard, or with `wait` false, the bell never rings and does not
    wait.
    """
    if not wait:
        yield Bell(None, settings)
        return
    try:
        connection = psycopg.connect(listening_url(settings, url), autocommit=True, application_name=APPLICATION_NAME)
    except (psycopg.Error, OSError) as error:
        log.warning("nobody_to_listen_to", error=type(error).__name__)
        yield Bell(None, settings)
        return
    try:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        yield Bell(connection, settings)
    finally:
        connection.close()
