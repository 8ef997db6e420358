"""Three hundred files dropped into the inbox of a running platform, ten of them broken: 290 complete, 10 fail with a
reason; the same drop again is ordered again, and nothing is made twice."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from audiomill.audio import encode, resampled
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.jobs.queries import JobView
from audiomill.receipts import public_keys, verify
from audiomill.storage.keys import INBOX
from tests.e2e.conftest import RunningPlatform, wait_until
from tests.fakes.recordings import BROKEN

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("platform")]

WORKSPACE = "threehundred"
EACH = 150
BROKEN_SOUNDS = ("empty.wav", "text.wav", "random.mp3", "cut-in-fmt.wav", "rate-0.wav", "nan.wav", "no-samples.wav")
BROKEN_TEXTS = {"empty.txt": b"", "control.txt": b"a bell \x07 rings", "latin-1.txt": "grün".encode("latin-1")}
ANIMALS = ("fox", "dog", "horse", "owl", "mouse", "goose", "sheep", "whale", "snake", "bear")


@dataclass(frozen=True)
class Milled:
    """The drop, and the jobs that came of it by key."""

    dropped: dict[str, bytes]
    jobs: dict[str, JobView]


def sentence(number: int) -> str:
    """A short one that no other equals."""
    return f"The {ANIMALS[number % 10]} number {number} is here."


def drop(folder: Path) -> dict[str, bytes]:
    """Clips of one or two seconds to transcribe, texts to speak; ten are broken."""
    espeak = Espeak(model_store=folder, budget=CoreBudget(folder / "cores", 1))
    good = EACH - len(BROKEN_SOUNDS)
    spoken = espeak.synthesize([sentence(number) for number in range(good)], SynthesizeParameters())
    sounds = {f"{n:03}.wav": encode(resampled(each.audio, 16_000), "wav").data for n, each in enumerate(spoken)}
    sounds |= {f"broken-{name}": BROKEN[name][0] for name in BROKEN_SOUNDS}
    texts = {f"{n:03}.txt": sentence(n).encode() for n in range(EACH - len(BROKEN_TEXTS))}
    texts |= {f"broken-{name}": data for name, data in BROKEN_TEXTS.items()}
    below = f"{INBOX}{WORKSPACE}"
    return {f"{below}/transcribe/{name}": data for name, data in sounds.items()} | {
        f"{below}/synthesize/{name}": data for name, data in texts.items()
    }


def counted(platform: RunningPlatform, table: str) -> int:
    with platform.database.session() as session:
        found = session.scalar(text(f"SELECT count(*) FROM {table} WHERE workspace_id = :id"), {"id": WORKSPACE})
    return int(found or 0)


def signatures(platform: RunningPlatform) -> dict[str, str]:
    with platform.database.session() as session:
        rows = session.execute(
            text("SELECT object_key, signature FROM inbox_entries WHERE object_key LIKE :below"),
            {"below": f"{INBOX}{WORKSPACE}/%"},
        ).all()
    return {row.object_key: row.signature for row in rows}


@pytest.fixture(scope="module")
def milled(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Milled:
    dropped = drop(tmp_path_factory.mktemp("drop"))
    assert len(dropped) == 2 * EACH
    with platform.database.session() as session:
        session.execute(text("INSERT INTO workspaces (id, name) VALUES (:id, :id)"), {"id": WORKSPACE})
    for key, data in dropped.items():
        platform.store.put_bytes(key, data)
    wait_until(lambda: counted(platform, "jobs") >= 2 * EACH, 120, "every file became a job")
    with platform.database.session() as session:
        rows = session.execute(
            text(
                "SELECT jobs.id, object_key FROM jobs JOIN recordings r ON r.id = recording_id "
                "WHERE jobs.workspace_id = :id"
            ),
            {"id": WORKSPACE},
        ).all()
    assert Counter(row.object_key for row in rows) == Counter(dict.fromkeys(dropped, 1))
    keys = {row.id: row.object_key for row in rows}
    ended = platform.wait_for_end(tuple(keys), 420)
    return Milled(dropped, {keys[job.id]: job for job in ended})


def test_290_complete_and_10_fail_each_with_a_reason(milled: Milled) -> None:
    assert Counter(job.state for job in milled.jobs.values()) == {"complete": 290, "failed": 10}
    failed = {key: job for key, job in milled.jobs.items() if job.state == "failed"}
    assert all("/broken-" in key for key in failed)
    for key, job in failed.items():
        name = key.rpartition("/broken-")[2]
        if name in BROKEN:
            assert job.failure_code in BROKEN[name][1]
        assert job.failure_reason is not None
        assert job.failure_reason.endswith("."), job.failure_reason
        assert len(job.failure_reason) > 25
        assert job.outputs == ()


def test_every_output_is_there_with_a_receipt_that_holds(milled: Milled, platform: RunningPlatform) -> None:
    keys = public_keys(platform.settings)
    for key, job in milled.jobs.items():
        if job.state != "complete":
            continue
        files = {output.name: platform.store.get_bytes(output.object_key) for output in job.outputs}
        expected = {"transcript.txt", "transcript.json"} if "/transcribe/" in key else {"speech.wav"}
        assert expected <= files.keys()
        for name in expected:
            held = verify(files[f"{name}.receipt.json"], files[name], keys).receipt
            assert held.job_id == job.id


def test_they_shared_few_runs(milled: Milled) -> None:
    """A run a file would take an hour."""
    assert len({job.run_id for job in milled.jobs.values()}) <= 24


def test_the_same_drop_again_is_ordered_again_and_made_once(milled: Milled, platform: RunningPlatform) -> None:
    """A writing is an order (decision 17); equal bytes are one recording, and are worked on once."""
    before = signatures(platform)
    assert before.keys() == milled.dropped.keys()
    made = counted(platform, "artifacts")
    for key, data in milled.dropped.items():
        platform.store.put_bytes(key, data)
    now = {key: platform.store.stat(key).signature for key in milled.dropped}
    assert not any(now[key] == before[key] for key in now), "written again"
    wait_until(lambda: signatures(platform) == now, 120, "the second drop was looked at, all of it")
    with platform.database.session() as session:
        rows = session.execute(text("SELECT id FROM jobs WHERE workspace_id = :id"), {"id": WORKSPACE}).all()
    again = tuple(row.id for row in rows if row.id not in {job.id for job in milled.jobs.values()})
    assert len(again) == 2 * EACH
    assert Counter(job.state for job in platform.wait_for_end(again, 240)) == {"complete": 290, "failed": 10}
    assert counted(platform, "recordings") == 2 * EACH
    assert counted(platform, "artifacts") == made
