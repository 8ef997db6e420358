"""One line of a dub edited over HTTP, on a running platform: the store shows what was made anew, and the old revision
is still served by number."""

import os
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from audiomill.accounts.keys import create_key
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.storage.keys import upload_key
from tests.e2e.conftest import WORKSPACE, RunningPlatform, wait_until
from tests.fakes.films import film, talk

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("platform")]

ENGINES = {"separate": "rnnoise", "transcribe": "pocketsphinx", "speak": "espeak-ng"}


def dubbed(platform: RunningPlatform, folder: Path) -> str:
    """A dub of a short film with subtitles in both languages, complete."""
    recording = talk(folder)

    def given(data: bytes, name: str) -> InputObject:
        key = upload_key(WORKSPACE, uuid.uuid4().hex)
        platform.store.put_bytes(key, data)
        return InputObject(key, platform.store.version(key), len(data), name)

    subtitles = (("subtitles", "target"), ("source_subtitles", "source"))
    job = NewJob(
        "dub",
        {"target_language": "es", "engines": ENGINES},
        given(film(folder / "film.mp4", [recording.sound]).read_bytes(), "film.mp4"),
        "source",
        tuple((role, given(recording.srt(which), f"{which}.srt")) for role, which in subtitles),
    )
    with platform.database.session() as session:
        ordered = submit(
            session,
            workspace_id=WORKSPACE,
            source="operator",
            idempotency_key=uuid.uuid4().hex,
            jobs=[job],
            settings=platform.settings,
        )
    (ended,) = platform.wait_for_end(ordered.job_ids, 240)
    assert (ended.state, ended.failure_reason) == ("complete", None)
    return ended.id


def stored(platform: RunningPlatform) -> set[str]:
    return {
        info.key
        for prefix in ("artifacts/", "outputs/")
        for info in platform.store.list_page(prefix, limit=5000).objects
    }


def command(platform: RunningPlatform, *arguments: str) -> str:
    """`audiomill` at the same installation."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOMILL_")}
    return subprocess.run(
        [sys.executable, "-m", "audiomill.cli.main", *arguments],
        env=environment | {"AUDIOMILL_DATA_DIR": str(platform.settings.data_dir), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


def test_one_edited_line_is_all_that_is_made_anew_and_the_old_dub_stays(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    job_id = dubbed(platform, tmp_path)
    with platform.database.session() as session:
        key = create_key(session, workspace_id=WORKSPACE, name="revisions").plaintext
    with httpx.Client(
        base_url=f"{platform.api_url}/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {key}"}, timeout=60
    ) as client:

        def fetched(name: str, **revision: int) -> bytes:
            return httpx.get(client.get(f"/outputs/{name}", params=revision).headers["Location"], timeout=60).content

        def ended() -> dict[str, Any]:
            newest = client.get(f"{platform.api_url}/v1/jobs/{job_id}").json()["revisions"][-1]
            return dict(newest) if newest["state"] != "open" else {}

        before, first = stored(platform), fetched("dub.mp4")
        shown = client.get("/lines")
        line = shown.json()["lines"][1]
        edit = {"lines": [{"id": line["id"], "translation": "Ahora digo otra cosa."}]}
        made = client.patch("/lines", json=edit, headers={"If-Match": shown.headers["ETag"]})
        assert (made.status_code, made.json()["revision"]) == (202, 2), made.text
        assert [each["step"] for each in made.json()["cost"]] == ["speak", "mix", "mux"]
        wait_until(lambda: bool(ended()), 180, "the revision ended")
        assert ended()["state"] == "complete", ended()
        new = stored(platform) - before
        results = Counter(each.split("/")[2] for each in new if each.startswith("artifacts/"))
        # The document as it was edited (and what the step made beside it), and what was made of it.
        assert set(results) == {"cast", "speak", "mix", "mux"}, results
        assert sum(each.endswith(".wav") and "/speak/" in each for each in new) == 1, "one line was spoken"
        assert all(f"/{job_id}/v2." in each for each in new if each.startswith("outputs/")), new
        second = fetched("dub.mp4")
        assert second == fetched("dub.mp4", revision=2) != first
        assert fetched("dub.mp4", revision=1) == first
        assert client.get("/lines", params={"revision": 1}).json()["lines"] == shown.json()["lines"]
        late = client.patch("/lines", json=edit, headers={"If-Match": shown.headers["ETag"]})
        assert (late.status_code, late.json()["code"]) == (409, "revision_changed")
    assert "Ahora digo otra cosa." in command(platform, "jobs", "lines", job_id)
    assert line["translation"] in command(platform, "jobs", "lines", job_id, "--revision", "1")
    pair = f"{line['id']}.translation=Y ahora otra."
    assert "speak" in command(platform, "jobs", "lines", job_id, "--set", pair, "--dry-run")
    assert "Revision 3" in command(platform, "jobs", "lines", job_id, "--set", pair)
    assert "3" in command(platform, "jobs", "show", job_id)
