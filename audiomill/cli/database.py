"""`audiomill database serve` (the embedded server's watcher) and `audiomill db upgrade`; opening it for commands."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from audiomill.console import SentenceGroup, err, fail, out
from audiomill.settings import get_settings

if TYPE_CHECKING:
    from audiomill.database.connection import Database

database_app = typer.Typer(cls=SentenceGroup, help="The embedded database server.", no_args_is_help=True)
db_app = typer.Typer(cls=SentenceGroup, help="The database's tables.", no_args_is_help=True)
LOOK_SECONDS = 0.5
WAIT_SECONDS = 60.0


@contextmanager
def open_database(*, upgraded: bool = True, may_make: bool = False) -> Iterator["Database"]:
    """The installation's database for one command. `may_make`: also where there was none.

    Where the embedded server does not run, it is started for the command and stopped after it, under the start lock,
    so that no platform adopts it meanwhile.
    """
    from audiomill.database.checking import check_own_database  # noqa: PLC0415 - as above
    from audiomill.database.connection import Database  # noqa: PLC0415 - as above
    from audiomill.database.embedded import running_server, uses_embedded  # noqa: PLC0415 - as above
    from audiomill.database.migrate import upgrade  # noqa: PLC0415 - as above
    from audiomill.errors import ConfigurationError  # noqa: PLC0415 - as above
    from audiomill.platform.installation import require_installation  # noqa: PLC0415 - as below
    from audiomill.platform.processes import StartLock  # noqa: PLC0415 - SQLAlchemy and psutil: not for --help

    settings = get_settings()
    if uses_embedded(settings):
        if not may_make:
            require_installation(settings)
    else:
        check_own_database(settings)
    lock = StartLock(settings.data_dir)
    mine = False
    deadline = time.monotonic() + WAIT_SECONDS
    while uses_embedded(settings) and not mine:
        try:
            lock.acquire("command")
            mine = True
        except ConfigurationError as error:
            # A platform: its server is ours to use once it runs. Another command: its server ends with it.
            if lock.held_by_platform() and running_server(settings) is not None:
                break
            if time.monotonic() > deadline:
                raise error from None
            time.sleep(0.2)
    was_running = uses_embedded(settings) and running_server(settings) is not None
    database = Database.from_settings(settings)
    try:
        if upgraded and (mine or not uses_embedded(settings)):
            upgrade(database.engine)
        yield database
    finally:
        database.dispose()
        if mine:
            if not was_running and (server := running_server(settings)) is not None:
                server.stop()
            lock.release()


@database_app.command("serve")
def serve() -> None:
    """Start or adopt the embedded server, stay while it runs, stop it at SIGTERM. `audiomill up` runs this."""
    from audiomill.database.embedded import ensure_server, uses_embedded  # noqa: PLC0415 - as above

    settings = get_settings()
    if not uses_embedded(settings):
        fail("AUDIOMILL_DATABASE__URL is set: there is no embedded database to serve.")
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    server = ensure_server(settings)
    err.print(f"PostgreSQL runs as process {server.pid} in {server.directory}.")
    while not asked.wait(LOOK_SECONDS):
        if not server.alive():
            fail(f"PostgreSQL (process {server.pid}) is gone. Its log: {server.directory / 'log'}")
    server.stop()
    err.print("PostgreSQL stopped.")


@db_app.command("upgrade")
def upgrade_tables() -> None:
    """Bring the tables to this version."""
    from audiomill.database.migrate import upgrade  # noqa: PLC0415 - as above

    with open_database(upgraded=False, may_make=True) as database:
        upgrade(database.engine)
    out.print("The tables are up to date.")
