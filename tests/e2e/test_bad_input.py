"""Everything that goes wrong with inputs, through the real inbox and API in one drop: each gets its reason, nobody else
is held up, nothing is lost."""

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from sqlalchemy import text

from audiomill.accounts.keys import create_key
from audiomill.jobs.queries import JobView
from audiomill.receipts import public_keys, verify
from tests.e2e.bad_cases import (
    DROP,
    FILENAMES,
    FLAWED,
    GOOD_NAMES,
    ODD_FORMS,
    ORDERS,
    REFUSED,
    SOUNDS,
    TEXTS,
    UNDERSTOOD,
    sounds,
)
from tests.e2e.conftest import ENDED, WORKSPACE, RunningPlatform, recording, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("platform")]

SOUND_DROP, TEXT_DROP = f"{DROP}/transcribe/bad", f"{DROP}/synthesize/bad"


@dataclass(frozen=True)
class Outcome:
    """What became of it all: inbox entries and jobs by key, jobs that the API took by file name, its refusals."""

    entries: dict[str, Any]
    jobs: dict[str, JobView]
    ordered: dict[str, JobView]
    refusals: dict[str, httpx.Response]


def is_sentence(reason: str | None) -> bool:
    """Says something to a person, and shows no path, errno or exception's name."""
    return (
        reason is not None
        and len(reason) > 25
        and reason.endswith(".")
        and not re.search(r"Error|Errno|Traceback|/tmp|/data/|\bav\.|\bNone\b", reason)
    )


def entries(platform: RunningPlatform) -> dict[str, Any]:
    with platform.database.session() as session:
        rows = session.execute(text("SELECT object_key, outcome, reason, signature FROM inbox_entries"))
        return {row.object_key: row for row in rows}


def jobs_by_key(platform: RunningPlatform) -> dict[str, list[str]]:
    with platform.database.session() as session:
        rows = session.execute(
            text("SELECT jobs.id, object_key FROM jobs JOIN recordings r ON r.id = recording_id")
        ).all()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.object_key, []).append(row.id)
    return found


@pytest.fixture(scope="module")
def api(platform: RunningPlatform) -> Iterator[httpx.Client]:
    with platform.database.session() as session:
        key = create_key(session, workspace_id=WORKSPACE, name="bad input").plaintext
    with httpx.Client(base_url=platform.api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        yield client


def upload(api: httpx.Client, filename: str, data: bytes) -> str:
    announced = api.post(
        "/v1/uploads", json={"filename": filename, "content_type": "audio/wav", "size_bytes": len(data)}
    )
    assert announced.status_code == 201, announced.text
    ticket = announced.json()
    url = urljoin(str(api.base_url), ticket["url"])
    assert httpx.put(url, content=data, headers=ticket["headers"], timeout=60).is_success
    return str(ticket["id"])


def order(api: httpx.Client, recipe: str, given: dict[str, str], **parameters: Any) -> str:
    answer = api.post("/v1/jobs", json={"recipe": recipe, "inputs": [given], "parameters": parameters})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobs"][0]["id"])


@pytest.fixture(scope="module")
def outcome(platform: RunningPlatform, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """All at once: one platform minute for all cases."""
    given = sounds(tmp_path_factory.mktemp("bad"))
    texts = {name: data for name, (data, _) in TEXTS.items()} | {"good.txt": b"Good morning."}
    dropped = {f"{SOUND_DROP}/{name}": data for name, data in given.items()}
    dropped |= {f"{TEXT_DROP}/{name}": data for name, data in texts.items()}
    for key in REFUSED:
        platform.store.put_bytes(key, recording())
    inbox = platform.store.root  # type: ignore[attr-defined] - a local directory
    with (inbox / f"{DROP}/transcribe/six-gigabytes.wav").open("r+b") as file:
        file.truncate(6 * 10**9)  # takes no room: a hole
    for key, data in dropped.items():
        platform.store.put_bytes(key, data)

    # A synthetic voice is hardly understood: without its language it would be refused as some other.
    spoken = {"engine": "pocketsphinx", "language": "en"}
    ordered = {
        name: order(api, "transcribe", {"upload_id": upload(api, name, given[name])}, **spoken) for name in ODD_FORMS
    }
    for name, shown in FILENAMES.items():
        ordered[shown] = order(api, "transcribe", {"upload_id": upload(api, name, recording())})
    ordered["no such voice"] = order(api, "synthesize", {"text": "good morning"}, voice="Nobody")
    upload_id = upload(api, "gone.wav", recording())
    ordered["gone.wav"] = order(api, "transcribe", {"upload_id": upload_id})
    with platform.database.session() as session:
        key = session.scalar(text("SELECT object_key FROM uploads WHERE id = :id"), {"id": upload_id})
    platform.store.delete(str(key))
    refusals = {name: api.post("/v1/jobs", json={"recipe": "synthesize"} | body) for name, (body, _) in ORDERS.items()}

    wanted = {*dropped, *REFUSED}
    wait_until(lambda: wanted <= entries(platform).keys(), 120, "every object of the drop was looked at")
    jobs = jobs_by_key(platform)
    assert {key: len(jobs.get(key, [])) for key in dropped} == dict.fromkeys(dropped, 1)
    ids = {key: jobs[key][0] for key in dropped}
    ended = {job.id: job for job in platform.wait_for_end((*ids.values(), *ordered.values()), 300)}
    return Outcome(
        entries(platform),
        {key: ended[job_id] for key, job_id in ids.items()},
        {name: ended[job_id] for name, job_id in ordered.items()},
        refusals,
    )


def receipt_of(platform: RunningPlatform, job: JobView, name: str) -> Any:
    files = {output.name: platform.store.get_bytes(output.object_key) for output in job.outputs}
    return verify(files[f"{name}.receipt.json"], files[name], public_keys(platform.settings)).receipt


@pytest.mark.parametrize("name", SOUNDS)
def test_a_broken_recording_fails_with_its_reason(name: str, outcome: Outcome) -> None:
    job = outcome.jobs[f"{SOUND_DROP}/{name}"]
    assert (job.state, job.outputs) == ("failed", ())
    assert job.failure_code in SOUNDS[name]
    assert is_sentence(job.failure_reason), job.failure_reason


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_cannot_be_spoken_fails_with_its_reason(name: str, outcome: Outcome) -> None:
    job = outcome.jobs[f"{TEXT_DROP}/{name}"]
    assert (job.state, job.outputs) == ("failed", ())
    assert job.failure_code in TEXTS[name][1]
    assert is_sentence(job.failure_reason), job.failure_reason


@pytest.mark.parametrize("name", [*GOOD_NAMES, *ODD_FORMS])
def test_good_ones_beside_them_complete(name: str, outcome: Outcome, platform: RunningPlatform) -> None:
    job = outcome.jobs[f"{SOUND_DROP}/{name}"]
    assert (job.state, job.failure_reason, job.attempts) == ("complete", None, 1)
    assert all(check.passed for check in receipt_of(platform, job, "transcript.txt").checks)


@pytest.mark.parametrize("name", ODD_FORMS)
def test_speech_in_odd_forms_is_understood(name: str, outcome: Outcome, platform: RunningPlatform) -> None:
    job = outcome.ordered[name]
    assert (job.state, job.failure_reason, job.engine) == ("complete", None, "pocketsphinx")
    (spoken,) = (output for output in job.outputs if output.name == "transcript.txt")
    heard = platform.store.get_bytes(spoken.object_key).decode().lower().split()
    assert set(heard) >= UNDERSTOOD


@pytest.mark.parametrize("name", FLAWED)
def test_a_damaged_recording_is_used_as_far_as_it_goes_and_its_receipt_says_so(
    name: str, outcome: Outcome, platform: RunningPlatform
) -> None:
    job = outcome.jobs[f"{SOUND_DROP}/{name}"]
    assert (job.state, job.failure_reason) == ("complete", None)
    receipt = receipt_of(platform, job, "transcript.txt")
    assert [check.name for check in receipt.checks if not check.passed] == [FLAWED[name]]
    assert receipt.input.seconds == pytest.approx(job.duration_seconds)


def test_a_good_text_beside_them_is_spoken(outcome: Outcome) -> None:
    job = outcome.jobs[f"{TEXT_DROP}/good.txt"]
    assert (job.state, job.failure_reason) == ("complete", None)


def test_good_and_bad_shared_a_batch_whose_run_went_well(outcome: Outcome, platform: RunningPlatform) -> None:
    batches: dict[str, Counter[str]] = {}
    runs: dict[str, str] = {}
    for job in outcome.jobs.values():
        assert job.batch_id is not None
        assert job.run_id is not None
        batches.setdefault(job.batch_id, Counter())[job.state] += 1
        runs[job.batch_id] = job.run_id
    assert any({"complete", "failed"} <= states.keys() for states in batches.values())
    for batch_id, run_id in runs.items():
        # A batch of which nothing came through shows it.
        status = "SUCCESS" if batches[batch_id]["complete"] else "FAILURE"
        wait_until(
            lambda run_id=run_id, status=status: platform.run_status(run_id) == status, 60, f"{run_id}: {status}"
        )


@pytest.mark.parametrize("key", REFUSED)
def test_an_object_in_no_place_is_refused_with_a_reason(key: str, outcome: Outcome, platform: RunningPlatform) -> None:
    entry = outcome.entries[key]
    assert entry.outcome == "rejected"
    assert REFUSED[key] in entry.reason
    assert is_sentence(entry.reason), entry.reason
    assert key not in jobs_by_key(platform)
    assert platform.store.stat(key).size_bytes > 0, "what is refused stays where it is"


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_that_makes_no_sense_is_refused_whole(name: str, outcome: Outcome) -> None:
    answer = outcome.refusals[name]
    assert answer.status_code in {400, 413, 422}
    problem = answer.json()
    assert problem["code"] in ORDERS[name][1], problem
    assert is_sentence(problem["detail"]), problem


def test_too_large_is_refused_before_a_byte_is_sent(api: httpx.Client) -> None:
    answer = api.post("/v1/uploads", json={"filename": "a.wav", "content_type": "audio/wav", "size_bytes": 6 * 10**9})
    assert (answer.status_code, answer.json()["code"]) == (413, "recording_too_large")
    assert is_sentence(answer.json()["detail"])


@pytest.mark.parametrize("shown", FILENAMES.values())
def test_odd_file_names_are_shown_harmless(shown: str, outcome: Outcome) -> None:
    job = outcome.ordered[shown]
    assert (job.state, job.filename) == ("complete", shown)


@pytest.mark.parametrize(("name", "code"), [("gone.wav", "input_gone"), ("no such voice", "no_voice")])
def test_what_is_found_out_late_is_said_on_the_job(name: str, code: str, outcome: Outcome) -> None:
    job = outcome.ordered[name]
    assert (job.state, job.failure_code) == ("failed", code)
    assert is_sentence(job.failure_reason), job.failure_reason


def test_a_file_written_again_is_ordered_again(outcome: Outcome, platform: RunningPlatform) -> None:
    """A writing is an order (decision 17); its result is recalled."""
    key = f"{SOUND_DROP}/good.wav"
    platform.store.put_bytes(key, platform.store.get_bytes(key))
    wait_until(lambda: len(jobs_by_key(platform)[key]) > 1, 60, "the second drop was ordered")
    first, second = platform.wait_for_end(tuple(sorted(jobs_by_key(platform)[key])))
    assert (first.state, second.state) == ("complete", "complete")
    assert uuid.UUID(str(outcome.jobs[key].run_id))


def test_nothing_is_lost_and_everything_ended(outcome: Outcome, platform: RunningPlatform) -> None:
    assert all(entry.outcome in {"submitted", "rejected"} for entry in outcome.entries.values())
    assert {job.state for job in platform.jobs(tuple(job.id for job in outcome.jobs.values()))} <= ENDED
    for key, entry in outcome.entries.items():
        assert (entry.outcome == "submitted") == (len(jobs_by_key(platform).get(key, [])) >= 1), key
