"""Three hundred jobs while everything that can be killed, stopped or filled is: each ends once, no customer is blamed,
nothing is left behind.

One seed in the suite; more by `CHAOS_SEEDS=1,2,3 pytest tests/e2e/test_chaos.py`. The seed says which fault comes when,
not how the operating system's scheduler answers it.
"""

import os
import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from audiomill.engines.cores import CoreBudget
from audiomill.platform.processes import platform_processes
from tests.e2e.chaos_faults import schedule
from tests.e2e.chaos_platform import Chaotic, chaotic_platform, outputs_and_events
from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.xdist_group("chaos")]

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1").split(",")]
RECORDINGS, TEXTS, AT_FAULT, DEADLY = 212, 80, 5, 3
ROUNDS = 1
END_SECONDS = 480.0


@pytest.mark.parametrize("seed", SEEDS)
def test_every_job_ends_once_whatever_breaks(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(seed)
    scripts = [f"wait:{chance.uniform(0.05, 0.6):.2f}" for _ in range(RECORDINGS)]
    scripts += ["refuse"] * AT_FAULT + ["die"] * DEADLY
    chance.shuffle(scripts)
    with chaotic_platform() as chaotic:
        ordered = dict(zip(chaotic.order_recordings(*scripts), scripts, strict=True))
        with ThreadPoolExecutor(4) as clients:
            keys = [uuid.uuid4().hex for _ in range(TEXTS)]
            texts = [clients.submit(chaotic.order_text, f"Line number {n}.", key) for n, key in enumerate(keys)]
            hits = _ill_treat(chaotic, seed, capsys)
            ordered |= {each.result(): "text" for each in texts}
        assert len(ordered) == RECORDINGS + TEXTS + AT_FAULT + DEADLY
        assert sum(hits.values()) >= len(hits) // 2, f"most faults found nothing to hit: {hits}"
        wait_until(lambda: chaotic.open_jobs() == 0, END_SECONDS, "every job ended")
        _each_ended_once(chaotic, ordered)
        _nothing_is_left(chaotic)
        # And it works on as if nothing had been.
        (after,) = chaotic.order_recordings("say:still here")
        wait_until(lambda: chaotic.open_jobs() == 0, 60, "one more job ended")
        ((state,),) = chaotic.patiently("SELECT state FROM jobs WHERE id = %(id)s", id=after)
        assert state == "complete"


def _ill_treat(chaotic: Chaotic, seed: int, capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    chance = random.Random(seed + 1)
    hits: Counter[str] = Counter()
    began = time.monotonic()
    for fault, pause in schedule(seed, ROUNDS):
        time.sleep(pause)
        hit = fault.apply(chaotic, chance)
        hits[fault.name] += bool(hit)
        with capsys.disabled():
            print(f"\n{time.monotonic() - began:6.1f} s  {fault.name}: {hit or 'nothing to hit'}", end="")  # noqa: T201
    return hits


def _each_ended_once(chaotic: Chaotic, ordered: dict[str, str]) -> None:
    rows = {str(row[0]): row[1:] for row in outputs_and_events(chaotic)}
    assert rows.keys() == ordered.keys()
    for job, (state, code, reason, ends, outputs, names) in rows.items():
        expected = {"refuse": ("failed", "no_speech"), "die": ("failed", "engine_crashed")}.get(
            ordered[job], ("complete", None)
        )
        assert (state, code) == expected, f"{job} ({ordered[job]}): {state} {code}: {reason}"
        assert ends == 1, f"{job} ended {ends} times"
        assert outputs == names, f"{job} has an output twice"
        assert (int(str(outputs)) > 0) == (state == "complete")


def _nothing_is_left(chaotic: Chaotic) -> None:
    items = chaotic.patiently("SELECT state, count(*) FROM work_items GROUP BY state")
    assert {state for state, _ in items} <= {"complete", "failed"}, items
    wait_until(
        lambda: not chaotic.patiently("SELECT id FROM batches WHERE state NOT IN ('closed', 'cancelled')"),
        120,
        "no batch is open",
    )
    assert not chaotic.patiently("SELECT id FROM batches WHERE lease_expires_at IS NOT NULL")
    wait_until(lambda: not chaotic.live_runs(), 240, f"no slot of Dagster is taken: {chaotic.live_runs()}")
    wait_until(lambda: not any(chaotic.scratch.iterdir()), 120, "scratch is empty")
    calls = chaotic.settings.data_dir / "run" / "calls"
    wait_until(lambda: not calls.exists() or not any(calls.iterdir()), 60, "no note of an engine call is left")
    _cores_are_free(chaotic)
    stopped = [each for each in platform_processes(chaotic.settings.data_dir) if _stopped(each)]
    assert not stopped, stopped


def _stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _cores_are_free(chaotic: Chaotic) -> None:
    """All of them can be taken at once: none is held by what is dead or asleep."""
    budget = CoreBudget(chaotic.settings.data_dir / "run" / "cores", chaotic.settings.cpu.cores)
    taken = threading.Event()

    def take() -> None:
        with budget.take(chaotic.settings.cpu.cores):
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    assert taken.wait(30), "cores are still held"
