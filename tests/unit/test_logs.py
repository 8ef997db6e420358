"""What processes log: no local variables, among which are customers' texts and keys."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from audiomill.logs import log_as_json

BREAK = """
import structlog
import definitions

def speak(text):
    raise ValueError("no")

try:
    speak("a customer's " + "secret")
except ValueError:
    structlog.get_logger("ops").exception("job broke", job="job_1")
"""


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("_as_it_was")
def test_a_traceback_has_no_local_variables() -> None:
    file = io.StringIO()
    log_as_json("info", file)
    text = "a customer's words"
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception("job broke", job="job_1")
    assert text not in file.getvalue()
    line = json.loads(file.getvalue())
    assert (line["event"], line["job"], line["exception"][0]["exc_type"]) == ("job broke", "job_1", "ValueError")


def test_dagsters_processes_log_so_too() -> None:
    done = subprocess.run([sys.executable, "-c", BREAK], capture_output=True, text=True, check=True, timeout=120)
    said = done.stdout + done.stderr
    assert "job broke" in said
    assert "customer's secret" not in said
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "job broke"
