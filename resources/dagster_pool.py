"""The pool of connections to Dagster's database, one a process, and what is known of its tables. Dagster's storages on
it: `dagster_storage`.
"""

import os
import select
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import psycopg2
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError

from audiomill.database.capacity import DAGSTER_CONNECTIONS

KEPT_CONNECTIONS: Final = 4
"""What a process keeps open between queries. The one used last is used again, so that few are ever opened."""

MOST_CONNECTIONS: Final = DAGSTER_CONNECTIONS
"""Of one process: more threads than that wait for each other, up to half a minute."""

RECYCLED_SECONDS: Final = 1800
"""Older connections are made anew: servers and what stands before them give up on old ones."""


class Engines:
    """The engines of this process, by URL and statement timeout."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, int | None], Engine] = {}
        self._prepared: set[str] = set()
        self._brought: set[tuple[str, str]] = set()
        self._lock = Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def engine(self, url: str, statement_timeout_ms: int | None = None) -> Engine:
        """The engine of that URL, made at first use."""
        with self._lock:
            key = (url, statement_timeout_ms)
            if key not in self._engines:
                self._engines[key] = _new_engine(url, statement_timeout_ms)
            return self._engines[key]

    def prepared(self, url: str) -> bool:
        """Whether this process made sure that the tables are there."""
        return url in self._prepared

    def mark_prepared(self, url: str) -> None:
        """They are."""
        self._prepared.add(url)

    def holds(self, url: str, what: str, look: Callable[[], bool]) -> bool:
        """Whether a database has a table, or was migrated: what migrations bring never goes, and is looked for once."""
        if (url, what) not in self._brought:
            if not look():
                return False
            self._brought.add((url, what))
        return True

    def dispose(self) -> None:
        """Close every connection that is not in use: before a server is stopped. The engines can be used on."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._prepared.clear()
            self._brought.clear()

    def _after_fork(self) -> None:
        # The parent's connections stay open and the parent's: two processes that speak on one would garble both.
        self._lock = Lock()
        for engine in self._engines.values():
            engine.dispose(close=False)


def _new_engine(url: str, statement_timeout_ms: int | None) -> Engine:
    # Limits on connecting and on silence stand in the URL (audiomill/database/capacity.py).
    arguments: dict[str, Any] = {}
    if statement_timeout_ms is not None:
        # What is given beside the URL replaces what is in it.
        of_url = make_url(url).query.get("options", "")
        arguments["options"] = f"{of_url} -c statement_timeout={statement_timeout_ms}".strip()
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MOST_CONNECTIONS - KEPT_CONNECTIONS,
        pool_recycle=RECYCLED_SECONDS,
        pool_use_lifo=True,
        connect_args=arguments,
    )
    event.listen(engine, "checkout", _require_life)
    return engine


def _require_life(connection: psycopg2.extensions.connection, *_: object) -> None:
    """Raises DisconnectionError, on which the pool connects anew, for a connection that its server has ended.

    A server that was restarted cut them all, and the first query on each would fail its run or tick. What is cut has
    something to be read, the end; to ask each connection each time, as `pool_pre_ping` does, was a third of the
    daemon's time with its database.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # it may have been a notice
    except psycopg2.Error as error:
        raise DisconnectionError("its server has ended it") from error


engines = Engines()


def dispose_pools() -> None:
    """Close this process's connections to Dagster's database: before its server is stopped."""
    engines.dispose()
