"""The embedded server after what happens to servers: killed, left as a file, started by many at once."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from audiomill.database.embedded import data_directory, ensure_server, running_server
from audiomill.settings import Settings
from tests.fakes.another_user import as_nobody


@pytest.fixture
def settings() -> Iterator[Settings]:
    # Not below pytest's own folder: PostgreSQL's own user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="audiomill-embedded-"))
    settings = Settings(data_dir=folder)
    yield settings
    if server := running_server(settings):
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_killed_server_is_started_again_with_what_was_committed(settings):
    server = ensure_server(settings)
    with psycopg.connect(server.url("audiomill")) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    os.kill(server.pid, signal.SIGKILL)
    while server.alive():
        time.sleep(0.02)
    assert running_server(settings) is None
    again = ensure_server(settings)
    assert again.pid != server.pid
    with psycopg.connect(again.url("audiomill")) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_process_number_of_a_dead_server_given_to_another_program(settings):
    server = ensure_server(settings)
    file = data_directory(settings) / "postmaster.pid"
    lines = file.read_text().splitlines()
    server.stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert running_server(settings) is None, "a file is not a server"
            again = ensure_server(settings)
            assert again.pid != stranger.pid
            assert stranger.poll() is None, "a stranger must not be touched"
        finally:
            stranger.kill()


def test_many_starters_share_one_server(settings):
    program = (
        "import sys; from pathlib import Path; from audiomill.settings import Settings\n"
        "from audiomill.database.embedded import ensure_server\n"
        "print(ensure_server(Settings(data_dir=Path(sys.argv[1]))).pid)"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", program, str(settings.data_dir)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = {starter.communicate(timeout=120)[0].strip() for starter in starters}
    assert all(starter.returncode == 0 for starter in starters)
    server = running_server(settings)
    assert server is not None
    assert answers == {str(server.pid)}


def test_stopping_twice_is_harmless(settings):
    server = ensure_server(settings)
    server.stop()
    server.stop()
    assert running_server(settings) is None


def below(folder: Path, *names: str) -> Path:
    path = folder.joinpath(*names)
    path.mkdir(parents=True, mode=0o700)
    for each in (path, *path.parents):
        if each == folder:
            break
        each.chmod(0o700)
    return path


@pytest.mark.parametrize("names", [("closed", "data"), ("a-long-folder-name-of-somebody",) * 5, ("50% o'clock, x",)])
def test_closed_folders_stay_closed_and_the_socket_is_nobody_else_s(settings, names):
    """As root the server runs as another user, who must pass, not list; and no other may reach its socket."""
    settings = Settings(data_dir=below(settings.data_dir, *names))
    server = ensure_server(settings)
    try:
        for folder in (settings.data_dir, settings.data_dir.parent):
            assert stat.S_IMODE(folder.stat().st_mode) & 0o066 == 0, f"others list or write {folder}"
        sockets = Path(server.socket_directory)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE((sockets / ".s.PGSQL.5432").stat().st_mode) == 0o700
        with psycopg.connect(server.url("audiomill")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        if os.geteuid() == 0:
            assert "ermission denied" in as_nobody(lambda: psycopg.connect(server.url("audiomill")))
            assert "ermission denied" in as_nobody(lambda: list(settings.data_dir.iterdir()))
    finally:
        server.stop()
        if sockets != data_directory(settings):
            shutil.rmtree(sockets)
