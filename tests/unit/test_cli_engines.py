"""`audiomill engines`: what this machine says to the platform, who else spoke, and taking a word back."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from audiomill.cli.main import app
from audiomill.database.connection import Database
from audiomill.jobs.availability import report, workers
from audiomill.settings import Settings, get_settings
from tests.fakes.orders import POCKETSPHINX, wipe


@pytest.fixture(autouse=True)
def _installation(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    wipe(database)
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("AUDIOMILL_DATABASE__URL", settings.database.url or "")
    monkeypatch.setenv("AUDIOMILL_DATABASE__DAGSTER_URL", settings.database.dagster_url or "")
    monkeypatch.setenv("AUDIOMILL_ENGINES__WORKER", "node-7")
    monkeypatch.setenv("AUDIOMILL_ENGINES__EXTRA", json.dumps(["tests.unit.test_engine_registry:BROKEN"]))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_a_machine_reports_under_its_name_and_tells_its_operator_what_broke(database: Database) -> None:
    result = CliRunner().invoke(app, ["engines", "report"])
    assert result.exit_code == 0, result.output
    assert "models can run on node-7." in result.output
    assert "broken: ZeroDivisionError: half written" in result.output
    with database.session() as session:
        (worker,) = workers(session)
    assert worker.name == "node-7"
    assert {"pocketsphinx", "espeak-ng"} <= set(worker.ready)


def test_workers_are_listed_and_forgotten(database: Database) -> None:
    with database.session() as session:
        report(session, worker="gpu-node", rows=[replace(POCKETSPHINX, model="large")])
    listed = CliRunner().invoke(app, ["engines", "workers"])
    assert "gpu-node" in listed.output
    assert "pocketsphinx large" in listed.output
    assert CliRunner().invoke(app, ["engines", "forget", "gpu-node"]).exit_code == 0
    again = CliRunner().invoke(app, ["engines", "forget", "gpu-node"])
    assert again.exit_code == 1
    assert "No worker 'gpu-node'" in again.output
    with database.session() as session:
        assert workers(session) == []


def test_the_doctor_says_which_languages_where_they_are_few() -> None:
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    said = {line.split("│")[2].strip(): line for line in lines if "│" in line}
    assert "│ en, en-us " in said["pocketsphinx"]
    assert " languages " in said["espeak-ng"]
    assert "en, en-us" not in said["faster-whisper"]
