"""Supervisor's configuration: which programs make the platform, in which order, and how each is stopped.

Nothing is started here (audiomill/platform/lifecycle.py does that).
Measured reasons for the odd settings: docs/decisions.
"""

import configparser
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from audiomill.platform.instance import DATABASE_VARIABLE, SENSOR_THREADS, dagster_home
from audiomill.platform.sockets import code_server_socket
from audiomill.settings import Settings

MARK = "AUDIOMILL_PLATFORM"
"""Environment variable that every process of a platform carries: its data directory. Leftovers are found by it."""
LOG_BYTES = "10MB"
LOG_FILES = 5
CODE_SERVER_THREADS = 2 * SENSOR_THREADS


@dataclass(frozen=True)
class Program:
    """One supervised program. Lower priorities start first and stop last."""

    name: str
    command: tuple[str, ...]
    priority: int
    stop_seconds: int
    start_seconds: int = 10
    starts_itself: bool = True
    """False: `audiomill up` starts it when the code server answers, for it would not look again for a minute."""


def script(name: str) -> str:
    """Path of a program installed beside this Python."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def audiomill_command(*arguments: str) -> tuple[str, ...]:
    """This very audiomill, whatever is on the PATH."""
    return (sys.executable, "-m", "audiomill.cli.main", *arguments)


def programs(settings: Settings, *, embedded: bool) -> list[Program]:
    """The programs of a platform, in starting order."""
    workspace = str(dagster_home(settings) / "workspace.yaml")
    api = settings.api
    # Dagster's own command, or ours around it with warm runs (docs/decisions/0031-warm-run-processes.md).
    warm = settings.dagster.warm_runs
    server = (sys.executable, "-m", "resources.code_server") if warm else (script("dagster"), "api", "grpc")
    code_server = (
        *server,
        *("--module-name", "definitions", "--socket", str(code_server_socket(settings.data_dir))),
        # Ticks that wait hold a thread each; gRPC's own number is that of the cores and four.
        *("--max-workers", str(CODE_SERVER_THREADS)),
    )
    listed = [
        Program("code-server", code_server, 20, 20),
        Program("daemon", (script("dagster-daemon"), "run", "--workspace", workspace), 30, 20, starts_itself=False),
        Program(
            "webserver",
            # Not `dagster-webserver`: anyone who reached that could do what an operator can.
            (sys.executable, "-m", "resources.webserver"),
            30,
            20,
            starts_itself=False,
        ),
        Program(
            "api",
            (
                *(sys.executable, "-m", "uvicorn", "api.main:app", "--host", api.host, "--port", str(api.port)),
                *api_options(settings),
            ),
            30,
            20,
        ),
    ]
    if embedded:
        listed.insert(0, Program("database", audiomill_command("database", "serve"), 10, 60, 1))
    return listed


def api_options(settings: Settings) -> tuple[str, ...]:
    """How uvicorn serves the API: with bounds on heads and connections (api/http_server.py), without websockets."""
    return (
        *("--http", "api.http_server:BoundedHttp", "--ws", "none"),
        *("--limit-concurrency", str(settings.api.max_connections)),
        # Open event streams would hold a stop for ever.
        *("--timeout-graceful-shutdown", "5", "--no-access-log"),
    )


def program_environment(
    settings: Settings, *, database_url: str, dagster_url: str, dagster_variable: str
) -> dict[str, str]:
    """What the programs are started with: this environment, and where everything is.

    The database is given by URL, so that none of them starts an embedded server: only `database serve` does.
    """
    return {
        **os.environ,
        MARK: str(settings.data_dir.resolve()),
        "AUDIOMILL_DATA_DIR": str(settings.data_dir.resolve()),
        "AUDIOMILL_DATABASE__URL": database_url,
        "AUDIOMILL_DATABASE__DAGSTER_URL": dagster_url,
        "DAGSTER_HOME": str(dagster_home(settings)),
        DATABASE_VARIABLE: dagster_variable,
        "PYTHONUNBUFFERED": "1",
    }


def dying_with_parent(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, killed by the kernel when its parent dies; where util-linux is absent, as it is."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", *command) if setpriv else command


def configuration(settings: Settings, socket_path: Path, listed: list[Program]) -> str:
    """The text of supervisord.conf.

    Programs inherit supervisord's environment, except that `database` must see the embedded server as its own.
    """
    logs = settings.data_dir.resolve() / "logs"
    parser = configparser.RawConfigParser()
    parser["supervisord"] = {
        "nodaemon": "true",
        "directory": str(dagster_home(settings)),
        "logfile": str(logs / "supervisord.log"),
        "logfile_maxbytes": LOG_BYTES,
        "logfile_backups": str(LOG_FILES),
        "pidfile": str(settings.data_dir.resolve() / "supervisord.pid"),
        "childlogdir": str(logs),
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    parser["unix_http_server"] = {"file": str(socket_path), "chmod": "0600"}
    parser["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    for program in listed:
        command = program.command
        if program.name == "database":
            command = (shutil.which("env") or "env", *_WITHOUT_URLS, *command)
        parser[f"program:{program.name}"] = {
            "command": _quoted(dying_with_parent(command)),
            "priority": str(program.priority),
            "autostart": str(program.starts_itself).lower(),
            "autorestart": "true",
            "startsecs": str(program.start_seconds),
            # A program that does not stay up for startsecs is tried again with growing pauses, 10 s of them in all,
            # then given up: `up` ends with the end of its log.
            "startretries": "4",
            "stopsignal": "TERM",
            "stopwaitsecs": str(program.stop_seconds),
            # Runs are children of the code server: after a kill they must not stay behind. The database's watcher
            # must not be killed as a group: PostgreSQL leads a group of its own, so it is not in it.
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            # Supervisor 4.3 expands this one value twice.
            "stdout_logfile": str(logs / f"{program.name}.log").replace("%", "%%"),
            "stdout_logfile_maxbytes": LOG_BYTES,
            "stdout_logfile_backups": str(LOG_FILES),
        }
    lines: list[str] = []
    for section in parser.sections():
        lines.append(f"[{section}]")
        # Supervisor reads %(name)s in values: a percent sign of ours is doubled.
        lines.extend(f"{name} = {value.replace('%', '%%')}" for name, value in parser[section].items())
    return "\n".join(lines) + "\n"


_WITHOUT_URLS = ("-u", "AUDIOMILL_DATABASE__URL", "-u", "AUDIOMILL_DATABASE__DAGSTER_URL")


def _quoted(command: tuple[str, ...]) -> str:
    # Supervisor splits by shlex; a semicolon after a blank begins a comment there, quoted or not.
    return " ".join("'" + part.replace("'", "'\"'\"'") + "'" for part in command)
