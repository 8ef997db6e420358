"""`audiomill up` with its real programs: what dies comes back, nothing stays behind, one platform a data directory."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from audiomill.database.embedded import running_server
from audiomill.operators.key import bearer
from audiomill.platform.processes import free_ports, platform_processes
from audiomill.platform.readiness import program_states
from audiomill.platform.sockets import supervisor_socket
from audiomill.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
READY_SECONDS = 150


class Up:
    """One data directory on which platforms are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        api, webserver = free_ports(2)
        self.api, self.webserver = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{webserver}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AUDIOMILL_")},
            "AUDIOMILL_DATA_DIR": str(folder),
            "AUDIOMILL_API__PORT": str(api),
            "AUDIOMILL_DAGSTER__PORT": str(webserver),
            "AUDIOMILL_ENGINES__FETCH_DEFAULT_WEIGHTS": "false",
        }
        self.settings = Settings(data_dir=folder)
        self.log = folder.parent / f"{folder.name}.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Start in a session of its own and wait until it says that it is ready."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "audiomill.cli.main", "up"],
                env=self.environment,
                cwd=tempfile.gettempdir(),  # it must not need the checkout
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        waited_for(lambda: "Ready." in self.log.read_text() or process.poll() is not None, READY_SECONDS)
        assert process.poll() is None, self.log.read_text()
        return process

    def pid_of(self, program: str) -> int | None:
        """Process id of a program that runs."""
        try:
            states = {each.name: each for each in program_states(supervisor_socket(self.folder))}
        except OSError:
            return None
        return states[program].pid or None

    def answers(self) -> bool:
        """Whether API and webserver answer."""
        try:
            webserver = httpx.get(f"{self.webserver}/server_info", headers=bearer(self.settings), timeout=5)
            return webserver.is_success and httpx.get(f"{self.api}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def remains(self) -> list[str]:
        """Living processes of this data directory, PostgreSQL's among them."""
        found = [f"{each.pid} {each.name()}" for each in platform_processes(self.folder)]
        servers = [
            f"{process.pid} postgres"
            for process in psutil.process_iter(["name", "status", "cwd"])
            if process.info["name"] == "postgres"
            and process.info["cwd"] == str(self.folder / "postgres")
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]
        return found + servers


def waited_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    # Not below pytest's own folder: PostgreSQL's own user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="audiomill-up-"))
    place = Up(folder)
    yield place
    for process in platform_processes(folder):
        process.kill()
    if server := running_server(place.settings):
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)
    place.log.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def running(up: Up) -> Iterator[subprocess.Popen[bytes]]:
    process = up.start()
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(timeout=120)


def test_addresses_that_it_prints_answer(up, running):
    text = up.log.read_text()
    assert up.api in text
    assert up.webserver in text
    assert up.answers()


def test_second_up_on_the_same_data_directory_refuses(up, running):
    second = subprocess.run(
        [sys.executable, "-m", "audiomill.cli.main", "up"],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"process {running.pid}" in second.stderr
    assert up.answers(), "the refusal must not touch the platform that runs"


def test_commands_use_the_running_database(up, running):
    before = running_server(up.settings)
    made = subprocess.run(
        [sys.executable, "-m", "audiomill.cli.main", "keys", "create"],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer = httpx.get(f"{up.api}/v1/jobs", headers={"Authorization": f"Bearer {made.stdout.strip()}"})
    assert answer.status_code == 200
    assert running_server(up.settings) == before, "a command must not stop a server that it did not start"


@pytest.mark.parametrize("program", ["api", "webserver", "daemon", "code-server", "database"])
def test_killed_program_comes_back(up, running, program):
    pid = up.pid_of(program)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert waited_for(lambda: up.pid_of(program) not in {None, pid}, 60), f"{program} was not started again"
    assert waited_for(up.answers, 60)
    assert running.poll() is None


def test_killed_postgres_comes_back(up, running):
    server = running_server(up.settings)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    assert waited_for(lambda: (again := running_server(up.settings)) is not None and again.pid != server.pid, 60)
    assert waited_for(up.answers, 60)
    assert running.poll() is None


def test_sigterm_leaves_nothing_behind(up, running):
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=120) == 0
    assert up.remains() == []
    assert running_server(up.settings) is None


@pytest.mark.parametrize("victim", ["up", "supervisord"])
def test_after_a_kill_a_second_up_works(up, victim):
    first = up.start()
    children = psutil.Process(first.pid).children()
    supervisor = next(child for child in children if "supervisor.supervisord" in child.cmdline())
    (psutil.Process(first.pid) if victim == "up" else supervisor).kill()
    if victim == "up":
        first.wait(timeout=30)
    else:
        assert first.wait(timeout=120) == 1, "up must say so and end when its supervisor is gone"
        assert "supervisor ended" in up.log.read_text()
    second = up.start()
    assert up.answers()
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=120) == 0
    assert up.remains() == []
