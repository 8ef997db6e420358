"""Whether the databases that the settings name can be used: asked before anything starts. Nothing is changed there."""

from dataclasses import dataclass

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from audiomill.database.capacity import too_few_connections
from audiomill.database.connection import dagster_database_url
from audiomill.errors import ConfigurationError
from audiomill.settings import Settings

CONNECT_SECONDS = 10
_URL = "AUDIOMILL_DATABASE__URL"
_DAGSTER_URL = "AUDIOMILL_DATABASE__DAGSTER_URL"


def check_own_database(settings: Settings) -> None:
    """Raises ConfigurationError where audiomill's own cannot be used, and says why. The embedded one is not asked."""
    if settings.database.url is not None:
        _asked(_URL, settings.database.url)


def check_databases(settings: Settings) -> str | None:
    """As `check_own_database`, and Dagster's too: what a whole platform needs. Returns what an operator should know."""
    if settings.database.url is None:
        if settings.database.dagster_url is not None:
            raise ConfigurationError(f"{_DAGSTER_URL} is set but {_URL} is not: set both, or neither.")
        return None
    own = _asked(_URL, settings.database.url)
    dagster = _asked(_DAGSTER_URL, dagster_database_url(settings))
    if own.same_database(dagster):
        raise ConfigurationError(
            f"{_URL} and {_DAGSTER_URL} name the same database: Dagster needs a database of its own."
        )
    # Of two servers each needs a part only.
    return too_few_connections(settings, own.max_connections) if own.started == dagster.started else None


@dataclass(frozen=True)
class _Found:
    """A database: its name, when its server started, to the microsecond, and how many connections that lets in."""

    name: str
    started: str
    max_connections: int

    def same_database(self, other: "_Found") -> bool:
        return (self.name, self.started) == (other.name, other.started)


def _asked(setting: str, given: str) -> _Found:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        # Not shown: what is no URL may hold a password anywhere.
        raise ConfigurationError(f"{setting} is no URL. It reads postgresql://user:password@host/database.") from None
    if not url.drivername.startswith(("postgresql", "postgres")):
        raise ConfigurationError(
            f"{setting} names {url.drivername}; audiomill runs on PostgreSQL: postgresql://user:password@host/database."
        )
    try:
        return _identity(url)
    except (DBAPIError, NoSuchModuleError, ValueError) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        shown = url.render_as_string(hide_password=True)
        raise ConfigurationError(f"{setting} ({shown}) cannot be used: {said.rstrip('.')}.") from error


def _identity(url: URL) -> _Found:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={"connect_timeout": CONNECT_SECONDS, "prepare_threshold": None},
    )
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT current_database(), pg_postmaster_start_time()::text, current_setting('max_connections')")
        ).one()
    return _Found(str(row[0]), str(row[1]), int(row[2]))
