"""Engines as the API knows them: by what workers reported, and by nothing else."""

import json
import subprocess
import sys
from pathlib import Path

from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.jobs.availability import report
from audiomill.settings import Settings

OWN = AvailabilityReport(
    "own", "tiny", "gpu", "text_to_speech", 0, True, None, ("en-us",), licence="MIT", features=("whispering",)
)
ROOT = Path(__file__).resolve().parents[2]

# A process of its own: what tests of this one imported is not the API's doing.
SERVE = """
import json, sys
from starlette.testclient import TestClient
from api.app import create_app
from audiomill.accounts.keys import create_key
from audiomill.accounts.workspaces import ensure_workspace

with TestClient(create_app()) as client:
    database = client.app.state.services.database
    with database.session() as session:
        ensure_workspace(session, "acme")
        key = create_key(session, workspace_id="acme", name="test").plaintext
    client.headers["Authorization"] = f"Bearer {key}"
    listed = client.get("/v1/engines").raise_for_status().json()["engines"]
    order = {"recipe": "synthesize", "parameters": {"engine": "own"}, "inputs": [{"text": "Good morning."}]}
    ordered = client.post("/v1/jobs", json=order).raise_for_status().json()
    job = client.get(ordered["jobs"][0]["url"]).raise_for_status().json()
    refused = client.post("/v1/jobs", json={**order, "parameters": {"engine": "unimportable"}})
imported = [name for name in sys.modules if name.startswith(("audiomill.engines", "tests.", "dagster"))]
print(json.dumps({"listed": listed, "job": job, "refused": refused.json(), "imported": imported}))
"""


def test_the_api_imports_no_engine_and_serves_those_that_workers_reported(
    settings: Settings, database: Database
) -> None:
    with database.session() as session:
        report(session, worker="gpu-node", rows=[OWN])
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(settings.data_dir),
        "AUDIOMILL_DATA_DIR": str(settings.data_dir),
        "AUDIOMILL_DATABASE__URL": str(settings.database.url),
        "AUDIOMILL_DATABASE__DAGSTER_URL": str(settings.database.dagster_url),
        "AUDIOMILL_ENGINES__EXTRA": '["tests.fakes.unimportable_engine:ENTRY"]',
    }
    done = subprocess.run(
        [sys.executable, "-c", SERVE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["imported"] == []
    (own,) = [engine for engine in said["listed"] if engine["engine"] == "own"]
    assert (own["available"], own["workers"], own["licence"], own["features"]) == (True, 1, "MIT", ["whispering"])
    assert (said["job"]["engine"], said["job"]["model"], said["job"]["state"]) == ("own", "tiny", "queued")
    assert said["refused"]["code"] == "unknown_engine"
