"""Dagster's storage through one pool of connections a process. dagster.yaml names `PooledPostgresStorage`.

No queries here: they are dagster-postgres's.

dagster-postgres opens a connection for each query, and each costs the server a new process with cold caches: two thirds
of what the platform used at rest (docs/decisions/0029-one-pool-for-dagsters-storage.md).

What is touched beyond Dagster's public interface is `_engine` of its three storages, which has no setter: a test says
when the name moves, and `AUDIOMILL_DAGSTER__POOLED_STORAGE=false` goes back to the plain storage.
"""

import os
from threading import Lock
from typing import Any, Final

from dagster._config.config_schema import UserConfigSchema
from dagster._core.instance import DagsterInstance
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import PostgresStorageConfig, pg_config
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import Engine, create_engine, make_url

from audiomill.database.capacity import DAGSTER_CONNECTIONS

KEPT_CONNECTIONS: Final = 4
"""What a process keeps open between queries. The one used last is used again, so that few are ever opened."""

MOST_CONNECTIONS: Final = DAGSTER_CONNECTIONS
"""Of one process: more threads than that wait for each other, up to half a minute."""

RECYCLED_SECONDS: Final = 1800
"""Older connections are made anew: servers and what stands before them give up on old ones."""


class _Engines:
    """The engines of this process, by URL and statement timeout."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, int | None], Engine] = {}
        self._prepared: set[str] = set()
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

    def dispose(self) -> None:
        """Close every connection that is not in use: before a server is stopped. The engines can be used on."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._prepared.clear()

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
    return create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MOST_CONNECTIONS - KEPT_CONNECTIONS,
        pool_recycle=RECYCLED_SECONDS,
        pool_use_lifo=True,
        # A server that was restarted cut them all: without it the first query on each would fail its run or tick.
        pool_pre_ping=True,
        connect_args=arguments,
    )


_engines = _Engines()


def dispose_pools() -> None:
    """Close this process's connections to Dagster's database: before its server is stopped."""
    _engines.dispose()


class _OnPool:
    """A storage of dagster-postgres on the process's pool instead of a connection a query."""

    postgres_url: str
    _engine: Engine

    def use_pool(self) -> None:
        """From now on."""
        self._engine = _engines.engine(self.postgres_url)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:  # noqa: ARG002 - Dagster's signature
        """The webserver's statement timeout, on one pool with the same bounds."""
        self._engine = _engines.engine(self.postgres_url, statement_timeout)


class _RunStorage(_OnPool, PostgresRunStorage):
    """Runs."""


class _EventLogStorage(_OnPool, PostgresEventLogStorage):
    """Event logs."""


class _ScheduleStorage(_OnPool, PostgresScheduleStorage):
    """Ticks and cursors of schedules and sensors."""


class PooledPostgresStorage(DagsterStorage[DagsterInstance], ConfigurableClass):
    """Dagster's storage, configured as `storage: postgres:` is, its three parts on the pool of their process."""

    def __init__(
        self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._inst_data = inst_data
        # The code server makes an instance for every tick: each would look three times whether the tables are there.
        create = should_autocreate_tables and not _engines.prepared(postgres_url)
        self._run_storage = _RunStorage(postgres_url, create)
        self._event_log_storage = _EventLogStorage(postgres_url, create)
        self._schedule_storage = _ScheduleStorage(postgres_url, create)
        if create:
            _engines.mark_prepared(postgres_url)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage.use_pool()
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The keys of `storage: postgres:`."""
        return pg_config()

    @classmethod
    def from_config_value(  # type: ignore[override]  # a narrower mapping, as in Dagster's own storages
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> "PooledPostgresStorage":
        """As dagster.yaml has it. Raises DagsterInvariantViolationError when the database is not named once."""
        return cls(pg_url_from_config(config_value), inst_data=inst_data)

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says of this storage."""
        return self._inst_data

    @property
    def run_storage(self) -> PostgresRunStorage:
        """Runs."""
        return self._run_storage

    @property
    def event_log_storage(self) -> PostgresEventLogStorage:
        """Event logs."""
        return self._event_log_storage

    @property
    def schedule_storage(self) -> PostgresScheduleStorage:
        """Ticks and cursors of schedules and sensors."""
        return self._schedule_storage
