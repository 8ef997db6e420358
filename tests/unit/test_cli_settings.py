"""Settings that cannot work end a command at once with a sentence; a name that is no setting is told."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from audiomill.cli.main import app
from audiomill.errors import ConfigurationError
from audiomill.platform.lifecycle import Platform
from audiomill.platform.processes import StartLock
from audiomill.settings import NOT_SETTINGS, Settings, get_settings, unknown_settings


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Runs a command under some settings: its exit code and what it said."""

    def run(*command, **settings):
        for name, value in {"DATA_DIR": str(tmp_path), **settings}.items():
            monkeypatch.setenv(f"AUDIOMILL_{name}", value)
        get_settings.cache_clear()
        result = CliRunner().invoke(app, command)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.exit_code, " ".join(result.output.split())

    yield run
    get_settings.cache_clear()


COMMANDS = ["up", "status", "doctor", "demo", "keys list", "jobs list", "receipt-keys", "db upgrade"]


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_value(said, command):
    code, text = said(*command.split(), API__PORT="eighty")
    assert code == 1
    assert "AUDIOMILL_API__PORT: input should be a valid integer" in text


def test_help_says_it_too(said):
    assert "AUDIOMILL_API__PORT" in said("--help", API__PORT="eighty")[1]


def test_list_that_is_no_json(said):
    code, text = said("keys", "list", ENGINES__EXTRA="a,b")
    assert code == 1
    assert "no JSON" in text


def test_unknown_name_is_told_with_the_nearest(said):
    text = said("status", API__PROT="81")[1]
    assert "no setting AUDIOMILL_API__PROT" in text
    assert "Did you mean AUDIOMILL_API__PORT?" in text


def test_names_that_others_read_are_no_mistakes():
    assert unknown_settings([*NOT_SETTINGS, "AUDIOMILL_DATABASE__URL", "audiomill_api__port", "PATH"]) == []
    assert unknown_settings(["AUDIOMILL_XYZXYZ"]) == [("AUDIOMILL_XYZXYZ", None)]


@pytest.mark.parametrize("command", ["up", "keys list", "db upgrade"])
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "is no URL"),
        ("mysql://a@b/c", "names mysql"),
        ("postgresql://u:secret@127.0.0.1:1/x", "cannot be used"),
        ("postgresql://u:secret@host:port/x", "is no URL"),
    ],
)
def test_wrong_database_url(said, command, url, why):
    began = time.monotonic()
    code, text = said(*command.split(), DATABASE__URL=url, DATABASE__DAGSTER_URL=url)
    assert code == 1
    assert "AUDIOMILL_DATABASE__URL" in text
    assert why in text
    assert "secret" not in text
    assert time.monotonic() - began < 60


def test_missing_database(said, database_urls):
    absent = database_urls.audiomill.replace("/t", "/absent_", 1)
    code, text = said("up", DATABASE__URL=absent, DATABASE__DAGSTER_URL=database_urls.dagster)
    assert code == 1
    assert "does not exist" in text


def test_one_database_for_both(said, database_urls):
    url = database_urls.audiomill
    code, text = said("up", DATABASE__URL=url, DATABASE__DAGSTER_URL=f"{url}&application_name=other")
    assert code == 1
    assert "the same database" in text


def test_a_node_that_only_reports_needs_no_database_of_dagster_s(said, database, database_urls):
    code, text = said("workspaces", "list", DATABASE__URL=database_urls.audiomill)
    assert code == 0, text


def test_half_of_the_databases(said, database_urls):
    assert "AUDIOMILL_DATABASE__DAGSTER_URL is not" in said("up", DATABASE__URL=database_urls.audiomill)[1]


def test_missing_bucket(said, s3_server):
    settings = {"STORAGE__KIND": "s3", "STORAGE__ENDPOINT_URL": s3_server, "STORAGE__REGION": "us-east-1"}
    code, text = said("up", STORAGE__BUCKET="absent", **settings)
    assert code == 1
    assert "bucket 'absent'" in text
    assert "it is not there" in text


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_endpoint_that_is_no_address(said, command):
    settings = {"STORAGE__KIND": "s3", "STORAGE__ENDPOINT_URL": "nonsense", "STORAGE__REGION": "us-east-1"}
    code, text = said(command, **settings)
    assert code == 1
    assert "Invalid endpoint: nonsense" in text


def test_what_a_platform_needs_is_asked_before_anything_starts(tmp_path, database_urls, s3_server):
    own, dagster = database_urls.audiomill, database_urls.dagster
    bucket = {"kind": "s3", "bucket": "absent", "endpoint_url": s3_server, "region": "us-east-1"}
    for settings, why in (
        ({"database": {"url": "nonsense", "dagster_url": "nonsense"}}, "AUDIOMILL_DATABASE__URL is no URL"),
        ({"database": {"url": own, "dagster_url": dagster.replace("/t", "/absent_", 1)}}, "does not exist"),
        ({"database": {"url": own, "dagster_url": f"{own}&application_name=other"}}, "the same database"),
        ({"database": {"url": own, "dagster_url": dagster}, "storage": bucket}, "bucket 'absent'"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            Platform(Settings(data_dir=tmp_path, **settings))._require_settings()


LOOKING = [
    "keys list",
    "keys create",
    "keys operator",
    "jobs list",
    "inbox list",
    "workspaces list",
    "receipt-keys",
    "engines report",
]


@pytest.mark.parametrize("command", LOOKING)
def test_looking_makes_nothing(said, command, tmp_path):
    """A second database or a new signing key, in a place that is not the platform's, would only confuse."""
    code, text = said(*command.split())
    assert code == 1
    assert str(tmp_path) in text
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_doctor_and_status_say_which_and_make_nothing(said, tmp_path):
    for command in ("doctor", "status"):
        text = said(command, ENGINES__HUB_TIMEOUT_SECONDS="0.1")[1]
        assert f"Data directory: {tmp_path} (nothing is there yet)" in text
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("command", ["--help", "doctor", "status"])
def test_the_addresses_of_the_platform_that_runs_are_said(said, command, tmp_path):
    lock = StartLock(tmp_path)
    lock.acquire("up")
    (tmp_path / "keys").mkdir()
    (tmp_path / "up.json").write_text(json.dumps({"pid": 7, "api": "http://a:1", "dagster": "http://a:2"}))
    text = said(command, ENGINES__HUB_TIMEOUT_SECONDS="0.1")[1]
    lock.release()
    assert f"Data directory: {tmp_path}" in text
    assert "API http://a:1, Dagster http://a:2" in text


def test_every_setting_does_something():
    """Two were read by nobody, once: who set them believed that they held."""
    root = Path(__file__).resolve().parents[2]
    folders = ("audiomill", "api", "assets", "ops", "resources", "sensors")
    sources = "".join(
        path.read_text()
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if path != root / "audiomill" / "settings.py"
    )
    # What a property of the settings itself makes of others.
    own = (root / "audiomill" / "settings.py").read_text()

    def names(model):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from names(field.annotation)
            else:
                yield name

    unused = [name for name in names(Settings) if f".{name}" not in sources and f"self.{name}" not in own]
    assert [name for name in unused if not re.search(rf"self\.\w+\.{name}\b", own)] == []
