"""The connection to PostgreSQL: where it is, sessions, readiness. One Database object a process."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from audiomill.database.capacity import steady
from audiomill.database.embedded import ensure_server
from audiomill.errors import ConfigurationError, DatabaseUnavailable
from audiomill.settings import Settings

APPLICATION_DATABASE = "audiomill"
DAGSTER_DATABASE = "dagster"


def database_url(settings: Settings) -> str:
    """`postgresql://…` of audiomill's own database; starts the embedded server if that is the one."""
    return steady(settings.database.url or ensure_server(settings).url(APPLICATION_DATABASE), settings)


def dagster_database_url(settings: Settings) -> str:
    """`postgresql://…` of Dagster's database. Raises ConfigurationError when only half is configured."""
    if settings.database.url is None:
        return steady(ensure_server(settings).url(DAGSTER_DATABASE), settings)
    if settings.database.dagster_url is None:
        raise ConfigurationError(
            "AUDIOMILL_DATABASE__URL is set but AUDIOMILL_DATABASE__DAGSTER_URL is not: "
            "Dagster needs a database of its own."
        )
    return steady(settings.database.dagster_url, settings)


def listening_url(settings: Settings, url: str) -> str:
    """Where LISTEN is heard: past PgBouncer where `direct_url` says so, else at `url`, which has its limits already."""
    return steady(settings.database.direct_url, settings) if settings.database.direct_url else url


class Database:
    """Sessions on audiomill's database. `session()` is one transaction: it commits at the end or rolls all back."""

    def __init__(self, url: str, *, pool_size: int = 8, prepared_statements: bool = True) -> None:
        self.url = url
        self.engine: Engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            hide_parameters=True,  # file names and keys' hashes stay out of tracebacks, and so out of logs
            connect_args={} if prepared_statements else {"prepare_threshold": None},
        )
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Database":
        """The database that the settings name."""
        return cls(
            database_url(settings),
            pool_size=settings.database.pool_size,
            prepared_statements=settings.database.prepared_statements,
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction. Raises DatabaseUnavailable when the server does not answer."""
        try:
            with self._sessions.begin() as session:
                yield session
        except OperationalError as error:
            if error.connection_invalidated or "connection" in str(error.orig).lower():
                raise DatabaseUnavailable("The database does not answer. Try again in a moment.") from error
            raise

    def ready(self) -> None:
        """Raises DatabaseUnavailable when a query does not pass."""
        with self.session() as session:
            session.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()
