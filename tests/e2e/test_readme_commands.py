"""README's commands, word by word, in a fresh copy with an empty HOME: `make demo` installs it there."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiomill.data_dir import running_platform
from audiomill.database.embedded import running_server
from audiomill.platform.processes import free_ports, platform_processes
from audiomill.settings import Settings
from tests.e2e.conftest import wait_until
from tests.fakes.films import film, talk

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
NOT_HERE = {"make test": "is this very suite"}
READY_SECONDS = 180
INSTALLED_SECONDS = 900
"""With what pip fetches: half a gigabyte."""


class Clone:
    """A copy of the checkout, and how a person with an empty HOME runs commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "audiomill"
        self.data_dir = self.folder / ".audiomill"
        self._copy()
        (folder / "home").mkdir()
        api, webserver = free_ports(2)
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AUDIOMILL_", "XDG_", "MAKE", "PYTHON", "VIRTUAL_ENV"))
            },
            "HOME": str(folder / "home"),
            # Another platform may have the ports of the defaults on this machine.
            "AUDIOMILL_API__PORT": str(api),
            "AUDIOMILL_DAGSTER__PORT": str(webserver),
        }

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in listed.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)

    def run(self, script: str, seconds: float = INSTALLED_SECONDS) -> subprocess.CompletedProcess[str]:
        """As typed into a shell that stops at the first error."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    # Not below pytest's own folder: PostgreSQL's own user must pass.
    folder = Path(tempfile.mkdtemp(prefix="audiomill-readme-"))
    clone = Clone(folder)
    yield clone
    for process in platform_processes(clone.data_dir):
        process.kill()
    if server := running_server(Settings(data_dir=clone.data_dir)):
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def up(clone: Clone) -> Iterator[subprocess.Popen[bytes]]:
    """`make up` in another terminal."""
    log = clone.folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up"],
            cwd=clone.folder,
            env=clone.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_until(lambda: "Ready." in log.read_text() or process.poll() is not None, READY_SECONDS, "make up is ready")
    assert process.poll() is None, log.read_text()
    yield process
    if process.poll() is None:
        # Ctrl-C reaches make and what it runs.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=180)


def test_first_block(clone):
    """`make demo`, and then its receipts hold for `verify`, which finds the same data directory by itself."""
    commands = [line.split("#")[0].strip() for line in BLOCKS[0].splitlines()]
    assert set(NOT_HERE) <= set(commands)
    for command in commands:
        if command not in NOT_HERE:
            clone.run(command)
    assert "receipts hold" in clone.run(".venv/bin/audiomill verify demo-output").stdout
    assert running_platform(clone.data_dir) is None
    assert not (Path(clone.environment["HOME"]) / ".audiomill").exists(), "one platform, one data directory"


def test_block_beside_a_running_platform(clone, up, recordings):
    block = next(block for block in BLOCKS if "audiomill submit" in block)
    (clone.folder / "talks").mkdir()
    # A person's voice: an artificial one, of which the language is not named, may be refused.
    shutil.copy(recordings / "speech" / "spk1-5.wav", clone.folder / "talks")
    said = clone.run(block)
    assert "1 of 1 complete" in said.stdout
    assert str(clone.data_dir) in said.stdout
    assert "/login?token=" in said.stderr
    assert list((clone.folder / "out").rglob("*.receipt.json"))


def test_demo_of_a_dub_takes_set_and_inputs(clone, up, tmp_path):
    """README's line, word by word, with a film that is made here and its Spanish subtitles."""
    (command,) = re.findall(r"`(make demo RECIPE=dub [^`]*)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    spoken = talk(tmp_path)
    film(clone.folder / "film.mp4", [spoken.sound])
    (clone.folder / "es.srt").write_bytes(spoken.srt("target"))
    assert "1 of 1 complete" in clone.run(command).stdout
    folder = clone.folder / "demo-output" / "film.mp4"
    # Without source.srt: what the embedded recogniser hears of these voices may be refused, and the dub goes on.
    assert {"dub.mp4", "dub.mp4.receipt.json", "lines.json", "target.srt"} <= {path.name for path in folder.iterdir()}
    lines = json.loads((folder / "lines.json").read_text(encoding="utf-8"))
    assert (lines["source_language"], lines["target_language"]) == ("en", "es")
    assert len(lines["lines"]) == len(spoken.turns)
    assert "tren" in lines["lines"][0]["translation"]


def test_demo_and_clean_beside_a_running_platform(clone, up):
    running = running_platform(clone.data_dir)
    assert running is not None
    assert "the demo uses it" in " ".join(clone.run("make demo").stderr.split())
    assert running_platform(clone.data_dir) == running
    assert up.poll() is None
    keys = sorted((clone.data_dir / "keys").iterdir())
    assert "it stays" in clone.run("make clean").stdout
    assert (clone.folder / ".venv" / "bin" / "audiomill").exists(), "the platform's programs are in it"
    assert not (clone.folder / "demo-output").exists()
    assert sorted((clone.data_dir / "keys").iterdir()) == keys
    assert running_platform(clone.data_dir) == running, "it removes what tests and demos left, and nothing else"
    assert json.loads((clone.data_dir / "up.json").read_text())["pid"] == running.pid


def test_ctrl_c_ends_it(clone, up):
    os.killpg(up.pid, signal.SIGINT)
    up.wait(timeout=180)
    assert running_platform(clone.data_dir) is None
    assert platform_processes(clone.data_dir) == []


def test_settings_of_one_s_own_are_settings(clone):
    """The block for S3 and a PostgreSQL of one's own needs both; its names are known, and what is wrong is said."""
    block = next(block for block in BLOCKS if "AUDIOMILL_STORAGE__KIND" in block)
    said = clone.run(f"{block}\n.venv/bin/audiomill db upgrade 2>&1 && exit 1 || true").stdout
    assert "There is no setting" not in said
    assert "AUDIOMILL_DATABASE__URL" in said
    assert "password@" not in said


def test_clean_leaves_the_data_and_takes_the_environment(clone):
    clone.run("make clean")
    assert not (clone.folder / ".venv").exists()
    assert (clone.data_dir / "keys").exists()
