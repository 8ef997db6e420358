"""Runs stopped, or silenced, by signals to their real processes: every job ends once, and nobody is blamed."""

import signal
from collections import Counter

import psutil
import pytest
from sqlalchemy import text

from audiomill.jobs.queries import get_batch
from tests.e2e.conftest import RunningPlatform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("platform")]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGSTOP], ids=["stopped in good order", "silent"])
def test_its_items_run_in_another_batch_and_are_not_counted(platform: RunningPlatform, sent: signal.Signals) -> None:
    jobs = platform.order(*["wait:1"] * 10)
    wait_until(lambda: Counter(job.state for job in platform.jobs(jobs))["complete"] >= 2, 120, "two are complete")
    victim = next(job for job in platform.jobs(jobs) if job.state == "running")
    assert victim.run_id is not None
    assert victim.batch_id is not None
    process = platform.worker_of(victim.run_id)
    process.send_signal(sent)

    def given_up() -> bool:
        with platform.database.session() as session:
            return get_batch(session, victim.batch_id or "").state == "cancelled"

    wait_until(given_up, 90, "the batch is given up")
    ended = platform.wait_for_end(jobs, 240)
    assert Counter(job.state for job in ended) == {"complete": 10}
    with platform.database.session() as session:
        crashes = session.scalar(
            text("SELECT sum(crashes) FROM work_items WHERE job_id = ANY(:ids)"), {"ids": list(jobs)}
        )
        # Of these: other tests' jobs on this platform may have revisions, whose files have the same names.
        twice = session.execute(
            text("SELECT job_id FROM outputs WHERE job_id = ANY(:ids) GROUP BY job_id, name HAVING count(*) > 1"),
            {"ids": list(jobs)},
        ).all()
    assert (crashes, twice) == (0, [])
    wait_until(lambda: _is_gone(process), 60, "its process is gone")
    wait_until(
        lambda: platform.run_status(victim.run_id or "") in {"FAILURE", "CANCELED"}, 90, "Dagster's run has ended"
    )
    calls = platform.settings.data_dir / "run" / "calls"
    wait_until(lambda: not list(calls.iterdir()), 60, "no note is left behind")


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
