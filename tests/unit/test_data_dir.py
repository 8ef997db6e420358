"""Which data directory is meant, what runs on it, and that it is closed to others."""

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audiomill import data_dir as module
from audiomill.cli.main import app
from audiomill.data_dir import default_data_dir, make_private, running_platform
from audiomill.errors import ConfigurationError
from audiomill.platform.lifecycle import Platform
from audiomill.platform.processes import StartLock
from audiomill.settings import Settings, get_settings
from tests.fakes.another_user import as_nobody


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A checkout's data directory and a home's."""
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    for folder in (checkout, home):
        folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        (checkout / name).touch()
    monkeypatch.setattr(module, "_CHECKOUT", checkout)
    monkeypatch.setenv("HOME", str(home))
    return checkout / ".audiomill", home / ".audiomill"


def running(folder):
    folder.mkdir()
    lock = StartLock(folder)
    lock.acquire("up")
    (folder / "up.json").write_text(json.dumps({"pid": os.getpid(), "api": "http://a:1", "dagster": "http://a:2"}))
    return lock


def test_checkout_s_is_the_first(places):
    assert default_data_dir() == places[0]


def test_home_s_where_there_is_no_checkout(places):
    (places[0].parent / "Makefile").unlink()
    assert default_data_dir() == places[1]


def test_the_one_that_was_used(places):
    (places[1] / "keys").mkdir(parents=True)
    assert default_data_dir() == places[1]
    (places[0] / "postgres").mkdir(parents=True)
    assert default_data_dir() == places[0]


def test_the_one_on_which_a_platform_runs_goes_first(places):
    (places[0] / "postgres").mkdir(parents=True)
    lock = running(places[1])
    assert default_data_dir() == places[1]
    assert running_platform(places[1]).api_url == "http://a:1"
    lock.release()
    assert running_platform(places[1]) is None, "killed: its file stayed"
    assert default_data_dir() == places[0]


def test_a_short_command_is_no_platform(places):
    running(places[1]).release()
    lock = StartLock(places[1])
    lock.acquire("command")
    assert running_platform(places[1]) is None
    lock.release()


@pytest.fixture
def open_folder():
    # pytest's own is closed to others already.
    with tempfile.TemporaryDirectory(prefix="audiomill-open-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_closed_to_others(open_folder):
    folder = open_folder / "data"
    (folder / "store" / "outputs").mkdir(parents=True)
    (folder / "store" / "outputs" / "text.txt").write_text("private")
    (folder / "up.json").write_text("{}")
    for path in (folder, folder / "store", folder / "store" / "outputs"):
        path.chmod(0o755)
    for path in (folder / "store" / "outputs" / "text.txt", folder / "up.json"):
        path.chmod(0o644)
    make_private(folder, passable=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711
    make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in ("store/outputs/text.txt", "up.json"):
        assert "PermissionError" in as_nobody((folder / path).read_text)
    make_private(folder, passable=True)
    for path in ("store/outputs/text.txt", "up.json"):
        assert "PermissionError" in as_nobody((folder / path).read_text)
    assert "PermissionError" in as_nobody(lambda: list(folder.iterdir()))


class Stop(Exception):
    """Far enough."""


def test_a_platform_closes_its_folder_at_each_start(open_folder, monkeypatch):
    """One of before 0700 too; and all that is written from then on is its user's alone."""
    folder = open_folder / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "store").mkdir()
    (folder / "store").chmod(0o755)
    found = {}

    def prepare(_):
        (folder / "logs" / "x").touch()
        found.update({name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("", "store", "logs", "logs/x")})
        raise Stop

    monkeypatch.setattr(Platform, "_require_settings", lambda _: None)
    monkeypatch.setattr(Platform, "_prepare", prepare)
    # With a database of somebody else's: the embedded one needs that others may pass through the folder.
    settings = Settings(data_dir=folder, database={"url": "postgresql://h/a", "dagster_url": "postgresql://h/b"})
    umask = os.umask(0o022)
    try:
        with pytest.raises(Stop):
            Platform(settings).start()
        assert os.umask(0o022) == 0o022, "given back"
    finally:
        os.umask(umask)
    assert found == {"": 0o700, "store": 0o700, "logs": 0o700, "logs/x": 0o600}


def test_what_a_command_writes_is_its_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    masks = []
    umask = os.umask
    monkeypatch.setattr(os, "umask", lambda mask: (masks.append(mask), umask(mask))[1])
    CliRunner().invoke(app, ["receipt-keys"])
    get_settings.cache_clear()
    assert masks[0] == 0o077
    assert masks[-1] != 0o077, "given back"


def test_what_others_use_is_not_taken_from_them(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="many users"):
        make_private(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    folder = tmp_path / "data"
    (folder / "somebody").mkdir(parents=True)
    (folder / "somebody").chmod(0o755)
    make_private(folder)
    assert stat.S_IMODE((folder / "somebody").stat().st_mode) == 0o755


def test_purge_refuses_while_a_platform_runs_and_asks(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(folder))
    get_settings.cache_clear()
    lock = running(folder)
    (folder / "keys").mkdir()
    try:
        refused = CliRunner().invoke(app, ["purge", "--yes"])
        assert refused.exit_code == 1
        assert "in use by" in refused.stderr
        lock.release()
        assert CliRunner().invoke(app, ["purge"], input="n\n").exit_code == 1
        assert (folder / "keys").is_dir()
        (folder / "thesis.txt").touch()
        assert CliRunner().invoke(app, ["purge"], input="y\n").exit_code == 0
        assert [each.name for each in folder.iterdir()] == ["thesis.txt"], "what is not ours stays"
        (folder / "thesis.txt").unlink()
        (folder / "keys").mkdir()
        assert CliRunner().invoke(app, ["purge", "--yes"]).exit_code == 0
        assert not folder.exists()
    finally:
        get_settings.cache_clear()


def test_make_clean_leaves_the_platform_s_data():
    makefile = (Path(module.__file__).parents[1] / "Makefile").read_text()
    recipe = makefile.partition("\nclean:")[2].partition("\n\n")[0]
    assert "rm -rf" in recipe
    removed = [line for line in recipe.splitlines() if "rm -rf" in line and "-not -path" not in line]
    assert not any(".audiomill" in line for line in removed)


def test_a_refused_start_stops_nothing(tmp_path):
    """`make demo` beside `make up`: what runs is not ours to stop."""
    lock = running(tmp_path / "data")
    platform = Platform(Settings(data_dir=tmp_path / "data"), purpose="demo")
    with pytest.raises(ConfigurationError, match="in use by"):
        platform.start()
    platform.stop()
    assert running_platform(tmp_path / "data") is not None
    lock.release()


def test_make_means_the_same_directory_as_the_command():
    """Receipts of `make demo` were refused by `audiomill verify`, which had looked for keys elsewhere."""
    makefile = (Path(module.__file__).parents[1] / "Makefile").read_text()
    assert "AUDIOMILL_DATA_DIR" not in makefile
    assert "--data-dir" not in makefile
