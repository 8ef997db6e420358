"""Runs that are forked from a process with everything loaded: what they share with it, and what they must not."""

import inspect
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.server import DagsterApiServer

from audiomill.platform.instance import DATABASE_VARIABLE, database_variable, write_instance
from audiomill.platform.supervision import MARK, programs
from audiomill.settings import DagsterSettings, Settings
from resources.code_server import WarmApiServer

ROOT = Path(__file__).resolve().parents[2]


def wait_until(reached: object, what: str) -> None:
    pause = threading.Event()
    for _ in range(1200):
        if reached():  # type: ignore[operator]
            return
        pause.wait(0.05)
    raise AssertionError(what)


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """What supervisor gives the code server."""
    return {
        **os.environ,
        MARK: str(settings.data_dir),
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(write_instance(settings)),
        "AUDIOMILL_DATA_DIR": str(settings.data_dir),
        "AUDIOMILL_DATABASE__URL": settings.database.url or "",
        "AUDIOMILL_DATABASE__DAGSTER_URL": settings.database.dagster_url or "",
        DATABASE_VARIABLE: database_variable(settings.database.dagster_url or ""),
    }


def python(code: str, environment: dict[str, str]) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def test_nothing_is_open_when_it_forks(environment: dict[str, str]) -> None:
    code = """if True:
        import json, os, threading, psutil, resources.fork_server, sys
        me = psutil.Process()
        print(json.dumps({
            "threads": threading.active_count(), "sockets": len(me.net_connections(kind="all")),
            "files": [file.path for file in me.open_files()], "children": len(me.children()),
            "definitions": "definitions" in sys.modules,
        }))
    """
    opened = json.loads(python(code, environment).splitlines()[-1])
    assert opened == {"threads": 1, "sockets": 0, "files": [], "children": 0, "definitions": True}


def test_a_run_leaves_as_a_spawned_process_does_and_can_be_told_to_stop(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in_a_run.py").write_text(
        "import atexit, signal, sys\n"
        "def work(queue):\n"
        "    atexit.register(print, 'left', flush=True)\n"
        "    queue.put([signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, 'definitions' in sys.modules])\n"
    )
    code = """if True:
        import multiprocessing, in_a_run
        from multiprocessing import forkserver
        from resources.code_server import PRELOADED
        forkserver.set_forkserver_preload([PRELOADED])
        context = multiprocessing.get_context("forkserver")
        queue = context.Queue()
        run = context.Process(target=in_a_run.work, args=(queue,))
        run.start()
        found = queue.get()
        run.join()
        print(found)
    """
    environment["PYTHONPATH"] += f":{tmp_path}"
    assert python(code, environment).splitlines() == ["left", "[True, True]"]


class Server:
    """A code server as supervisor starts it."""

    def __init__(self, settings: Settings, environment: dict[str, str], socket: Path) -> None:
        command = next(each.command for each in programs(settings, embedded=False) if each.name == "code-server")
        place = command.index("--socket") + 1
        self.process = psutil.Popen(
            [*command[:place], str(socket), *command[place + 1 :]], env=environment, start_new_session=True
        )
        self.client = DagsterGrpcClient(socket=str(socket))
        wait_until(self.answers, "the code server answers")
        wait_until(lambda: self.fork_server() is not None or not settings.dagster.warm_runs, "the fork server")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping("hello"))
        except DagsterUserCodeUnreachableError:
            assert self.process.poll() is None
            return False

    def fork_server(self) -> psutil.Process | None:
        for child in self.process.children():
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                return child
        return None


@pytest.fixture
def server(
    settings: Settings, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One with warm runs."""
    server = Server(settings, environment, tmp_path_factory.mktemp("s") / "s.sock")
    yield server
    if server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_code_server_that_ends_leaves_no_fork_server(server: Server, number: signal.Signals) -> None:
    forked_from = server.fork_server()
    assert forked_from is not None
    server.process.send_signal(number)
    server.process.wait(30)
    wait_until(lambda: not forked_from.is_running() or forked_from.status() == "zombie", "the fork server ends")


def test_by_its_setting_dagsters_own_command_serves(settings: Settings) -> None:
    cold = settings.model_copy(update={"dagster": DagsterSettings(warm_runs=False)})
    command = next(each.command for each in programs(cold, embedded=False) if each.name == "code-server")
    assert Path(command[0]).name == "dagster"
    assert command[1:3] == ("api", "grpc")


def test_the_private_names_are_still_there() -> None:
    source = inspect.getsource(DagsterApiServer)
    assert 'self._mp_ctx = multiprocessing.get_context("spawn")' in source, "see resources/code_server.py"
    assert "self._mp_ctx.Process(" in source
    from dagster._cli import api

    assert "from dagster._grpc.server import DagsterApiServer" in inspect.getsource(api.grpc_command.callback)


def test_runs_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(self: DagsterApiServer) -> None:
        self._mp_ctx = multiprocessing.get_context("spawn")

    monkeypatch.setattr(DagsterApiServer, "__init__", plain)
    assert WarmApiServer()._mp_ctx.get_start_method() == "forkserver"
