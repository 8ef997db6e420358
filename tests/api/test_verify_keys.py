"""`audiomill verify --keys URL` against the real API: the form of its answer is one thing, said in one place."""

import json

from typer.testing import CliRunner

from audiomill.cli.main import app
from audiomill.cli.verify import trusted_keys
from audiomill.receipts.keys import public_keys, signing_key
from audiomill.settings import get_settings


def test_keys_of_the_api(server, settings):
    assert trusted_keys(f"{server}/v1/receipt-keys") == public_keys(settings)


def test_keys_as_the_command_prints_them_are_those_of_the_api(anonymous, settings, monkeypatch):
    signing_key(settings)
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(settings.data_dir))
    get_settings.cache_clear()
    printed = CliRunner().invoke(app, ["receipt-keys"])
    get_settings.cache_clear()
    assert json.loads(printed.stdout) == anonymous.get("/v1/receipt-keys").json()
