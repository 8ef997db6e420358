"""What an operator sees of a job that waits because of a fault of ours."""

from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from audiomill.cli.main import app
from audiomill.database.connection import Database
from audiomill.settings import Settings, get_settings
from tests.conftest import DatabaseUrls
from tests.fakes.orders import audio, order, prepare


def test_a_job_that_is_handed_back_again_and_again_is_told_before_it_is_given_up(
    database: Database,
    settings: Settings,
    database_urls: DatabaseUrls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(database, "acme")
    (job_id,) = order(database, settings, "acme", audio(1)).job_ids
    with database.session() as session:
        session.execute(text("UPDATE work_items SET hand_backs = 17, hand_back_note = 'The store refused the object.'"))
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AUDIOMILL_DATABASE__URL", database_urls.audiomill)
    monkeypatch.setenv("AUDIOMILL_DATABASE__DAGSTER_URL", database_urls.dagster)
    monkeypatch.setenv("AUDIOMILL_ENGINES__HUB_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "300")
    get_settings.cache_clear()
    try:
        shown = CliRunner().invoke(app, ["jobs", "show", job_id]).output
        doctor = CliRunner().invoke(app, ["doctor"]).output
    finally:
        get_settings.cache_clear()
    assert "17 times, through a fault of ours: The store refused the object." in shown
    assert f"{job_id}, 17 times of 100" in doctor
