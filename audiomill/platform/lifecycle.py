"""A platform of this machine: prepared, started under supervisor, watched, stopped. `up` and `demo` drive it.

Nothing here prints; what happens is told through `tell`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from audiomill.data_dir import make_private
from audiomill.database.checking import check_databases
from audiomill.database.connection import Database, dagster_database_url, database_url
from audiomill.database.embedded import running_server, system_user, uses_embedded
from audiomill.database.migrate import upgrade
from audiomill.errors import AudiomillError, ConfigurationError, NotFound, OperatorError
from audiomill.jobs.batches.waiting import stop_mark
from audiomill.operators.guard import require_public_address
from audiomill.platform.instance import dagster_home, database_variable, write_instance
from audiomill.platform.processes import StartLock, end_leftovers, require_free_port
from audiomill.platform.readiness import Readiness, program_states
from audiomill.platform.sockets import code_server_socket, supervisor_socket
from audiomill.platform.supervision import (
    audiomill_command,
    configuration,
    dying_with_parent,
    program_environment,
    programs,
    script,
)
from audiomill.settings import Settings
from audiomill.storage.factory import open_store

READY_SECONDS = 180.0
STOP_SECONDS = 150.0
DEFAULT_WORKSPACE = "default"


def _silent(_: str) -> None:
    return


@dataclass
class Platform:
    """One platform under one data directory."""

    settings: Settings
    purpose: str = "up"
    tell: Callable[[str], None] = _silent
    _lock: StartLock = field(init=False)
    _supervisor: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _report: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _fetching: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _environment: dict[str, str] = field(default_factory=dict, init=False)
    _socket: Path = field(init=False)
    _umask: int = field(default=0o022, init=False)

    def __post_init__(self) -> None:
        self.settings = self.settings.model_copy(update={"data_dir": self.settings.data_dir.resolve()})
        self._lock = StartLock(self.data_dir)
        self._socket = supervisor_socket(self.data_dir)

    @property
    def data_dir(self) -> Path:
        """Where all of it lives."""
        return self.settings.data_dir

    def start(self) -> None:
        """Everything up to running programs. Raises ConfigurationError before anything is changed."""
        self._lock.acquire(self.purpose)
        # All that it and its programs write is its user's alone.
        self._umask = os.umask(0o077)
        try:
            stop_mark(self.settings).unlink(missing_ok=True)
            if ended := end_leftovers(self.data_dir):
                self.tell(f"Ended {ended} processes that an earlier start had left behind.")
            self._require_settings()
            make_private(self.data_dir, passable=uses_embedded(self.settings) and system_user() is not None)
            for folder in ("logs", "dagster", "keys"):
                (self.data_dir / folder).mkdir(exist_ok=True)
            environment = self._prepare()
            self._start_supervisor(environment)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """Until API, webserver and code location answer, or `given_up`. Raises OperatorError that says what did not."""
        readiness = Readiness(self.settings, self._socket)
        deadline = time.monotonic() + READY_SECONDS
        while not readiness.all_ready():
            if given_up():
                return
            if (broken := self.broken()) is not None:
                raise OperatorError(broken, code="platform_broken")
            if time.monotonic() > deadline:
                raise OperatorError(
                    f"Not ready after {READY_SECONDS:.0f} s: {readiness.waiting_for()}. Logs: {self.data_dir / 'logs'}",
                    code="platform_not_ready",
                )
            time.sleep(0.25)
        if self._report is not None and self._report.wait(timeout=READY_SECONDS) != 0:
            self.tell(f"The engines could not be looked at: see {self.data_dir / 'logs' / 'engines-report.log'}.")

    def broken(self) -> str | None:
        """A sentence when supervisor ended or gave up on a program; None while all is well."""
        if self._supervisor is None or self._supervisor.poll() is not None:
            return f"The supervisor ended. Its log: {self.data_dir / 'logs' / 'supervisord.log'}"
        try:
            states = program_states(self._socket)
        except OSError:
            # It listens a moment after its start.
            return None
        for program in states:
            if program.state == "FATAL":
                log = self.data_dir / "logs" / f"{program.name}.log"
                return f"{program.name} does not stay up. The end of {log}:\n{_tail(log)}"
        return None

    def stop(self) -> None:
        """Stop all programs, PostgreSQL last. Harmless when nothing was started by this object."""
        if not self._lock.held:
            # `start()` was refused: what runs here is another's.
            return
        for process in (self._report, self._fetching):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if self._supervisor is not None:
            if self._supervisor.poll() is None:
                # Ticks that wait for work end: the daemon, which is stopped first, waits for its ticks.
                stop_mark(self.settings).touch()
                self._supervisor.send_signal(signal.SIGTERM)
                try:
                    self._supervisor.wait(timeout=STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self.tell("The supervisor does not stop: it is killed.")
                    self._supervisor.kill()
                    self._supervisor.wait()
            self._supervisor = None
        stop_mark(self.settings).unlink(missing_ok=True)
        end_leftovers(self.data_dir)
        if uses_embedded(self.settings) and (server := running_server(self.settings)):
            server.stop()
        (self.data_dir / "up.json").unlink(missing_ok=True)
        self._lock.release()
        os.umask(self._umask)

    def _require_settings(self) -> None:
        require_public_address(self.settings)
        if (known := check_databases(self.settings)) is not None:
            self.tell(known)
        if self.settings.storage.kind == "s3":
            self._require_bucket()
        api, dagster = self.settings.api, self.settings.dagster
        require_free_port(api.host, api.port, "The API", "AUDIOMILL_API__PORT")
        require_free_port(dagster.host, dagster.port, "Dagster's webserver", "AUDIOMILL_DAGSTER__PORT")

    def _require_bucket(self) -> None:
        storage = self.settings.storage
        try:
            open_store(self.settings).ready()
        except AudiomillError as error:
            absent = isinstance(error, NotFound) or "NoSuchBucket" in error.message
            why = "it is not there" if absent else error.message.rstrip(".")
            raise ConfigurationError(
                f"The bucket {storage.bucket!r} at {storage.endpoint_url or 'AWS'} cannot be used: {why}. The settings "
                "are AUDIOMILL_STORAGE__BUCKET and those beside it; the credentials are boto3's."
            ) from error

    def _prepare(self) -> dict[str, str]:
        """Database, tables, default workspace, Dagster's home; returns the programs' environment."""
        from audiomill.accounts.workspaces import ensure_workspace  # noqa: PLC0415 - SQLAlchemy: not for --help

        dagster_url = dagster_database_url(self.settings)
        database = Database.from_settings(self.settings)
        try:
            upgrade(database.engine)
            with database.session() as session:
                ensure_workspace(session, DEFAULT_WORKSPACE)
        finally:
            database.dispose()
        write_instance(self.settings)
        environment = program_environment(
            self.settings,
            database_url=database_url(self.settings),
            dagster_url=dagster_url,
            dagster_variable=database_variable(dagster_url),
        )
        self._migrate_dagster(environment)
        self._report = self._aside("engines-report", audiomill_command("engines", "report"), environment)
        self._environment = environment
        return environment

    def fetch_weights(self) -> None:
        """Fetch missing default weights beside the running platform, and report again."""
        self._fetching = self._aside(
            "engines-fetch", audiomill_command("engines", "report", "--fetch"), self._environment
        )

    def _aside(self, name: str, command: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """A process of ours beside supervisor, with a log of its own."""
        with (self.data_dir / "logs" / f"{name}.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                dying_with_parent(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _migrate_dagster(self, environment: dict[str, str]) -> None:
        """Bring Dagster's tables to its version, once a version: its programs would race to create them."""
        from importlib.metadata import version  # noqa: PLC0415 - slow to import, not for --help

        stamp = dagster_home(self.settings) / ".migrated"
        # A database elsewhere may be exchanged: it is named too, by a hash, for the URL may hold a password.
        mark = f"{version('dagster')} {_fingerprint(environment['AUDIOMILL_DATABASE__DAGSTER_URL'])}"
        if stamp.exists() and stamp.read_text() == mark:
            return
        self.tell("Preparing Dagster's tables …")
        result = subprocess.run(  # noqa: S603 - our own command
            (script("dagster"), "instance", "migrate"), env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise ConfigurationError(f"Dagster's tables cannot be prepared:\n{(result.stdout + result.stderr)[-2000:]}")
        stamp.write_text(mark)

    def _start_supervisor(self, environment: dict[str, str]) -> None:
        file = self.data_dir / "supervisord.conf"
        listed = programs(self.settings, embedded=uses_embedded(self.settings))
        file.write_text(configuration(self.settings, self._socket, listed))
        for left in (self._socket, code_server_socket(self.data_dir)):
            left.unlink(missing_ok=True)
        # A session of its own: Ctrl-C reaches us alone, and we stop the programs in their order.
        command = (sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(file))
        self._supervisor = self._aside("supervisord.out", command, environment)
        (self.data_dir / "up.json").write_text(
            json.dumps({"pid": os.getpid(), "api": self.settings.api_url, "dagster": self.settings.dagster_ui_url})
        )


def _fingerprint(text: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - as above

    return sha256(text.encode()).hexdigest()[:16]


def _tail(file: Path, lines: int = 15) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"
