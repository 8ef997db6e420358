"""Dagster's storage through one pool of connections a process. dagster.yaml names `PooledPostgresStorage`.

No queries here: they are dagster-postgres's.

dagster-postgres opens a connection for each query, and each costs the server a new process with cold caches: two thirds
of what the platform used at rest (docs/decisions/0029-one-pool-for-dagsters-storage.md).

What is touched beyond Dagster's public interface is `_engine` of its three storages, which has no setter: a test says
when the name moves, and `AUDIOMILL_DAGSTER__POOLED_STORAGE=false` goes back to the plain storage.
"""

from dagster._config.config_schema import UserConfigSchema
from dagster._core.instance import DagsterInstance
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import PostgresStorageConfig, pg_config
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import Connection, Engine

from resources.dagster_pool import engines


class _OnPool:
    """A storage of dagster-postgres on the process's pool instead of a connection a query."""

    postgres_url: str
    _engine: Engine

    def use_pool(self) -> None:
        """From now on."""
        self._engine = engines.engine(self.postgres_url)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:  # noqa: ARG002 - Dagster's signature
        """The webserver's statement timeout, on one pool with the same bounds."""
        self._engine = engines.engine(self.postgres_url, statement_timeout)


class _RunStorage(_OnPool, PostgresRunStorage):
    """Runs."""


class _EventLogStorage(_OnPool, PostgresEventLogStorage):
    """Event logs."""

    def has_table(self, table_name: str) -> bool:
        """Asked of the database until it is there."""
        look = super().has_table
        return engines.holds(self.postgres_url, table_name, lambda: look(table_name))


class _ScheduleStorage(_OnPool, PostgresScheduleStorage):
    """Ticks and cursors of schedules and sensors."""

    def has_instigators_table(self) -> bool:
        """Asked of the database until it is there: dagster-postgres lists all tables, several times a tick."""
        look = super().has_instigators_table
        return engines.holds(self.postgres_url, "instigators", look)

    def _has_instigators_table(self, conn: Connection) -> bool:
        look = super()._has_instigators_table
        return engines.holds(self.postgres_url, "instigators", lambda: look(conn))

    def has_built_index(self, migration_name: str) -> bool:
        """The same of a migration of its rows, which the two other storages remember themselves."""
        look = super().has_built_index
        return engines.holds(self.postgres_url, f"rows of {migration_name}", lambda: look(migration_name))


class PooledPostgresStorage(DagsterStorage[DagsterInstance], ConfigurableClass):
    """Dagster's storage, configured as `storage: postgres:` is, its three parts on the pool of their process."""

    def __init__(
        self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._inst_data = inst_data
        # The code server makes an instance for every tick: each would look three times whether the tables are there.
        create = should_autocreate_tables and not engines.prepared(postgres_url)
        self._run_storage = _RunStorage(postgres_url, create)
        self._event_log_storage = _EventLogStorage(postgres_url, create)
        self._schedule_storage = _ScheduleStorage(postgres_url, create)
        if create:
            engines.mark_prepared(postgres_url)
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
