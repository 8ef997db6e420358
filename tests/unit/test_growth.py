"""What is asked often costs the same however much has been finished: rows read, not seconds, on a filled database."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.inbox.entries import recent_entries
from audiomill.jobs.batches import recovery, retirement
from audiomill.jobs.batches.forming import startable
from audiomill.jobs.pages import list_jobs
from audiomill.jobs.queries import batch_jobs, owning_runs
from audiomill.settings import Settings
from benchmarks import filling
from benchmarks.growth import run
from tests.fakes.reading import rows_read

JOBS = 30_000
MOST_ROWS = 1000
"""Two pages of 50 with what belongs to each job, and the planner's own looks at the ends of indexes."""

Ask = Callable[[Session, Settings], object]

STATEMENTS: dict[str, Ask] = {
    "page of a workspace": lambda session, _: list_jobs(session, "w000007"),
    "its second page": lambda session, _: list_jobs(session, "w000007", after=list_jobs(session, "w000007").next_after),
    "rare state of a workspace": lambda session, _: list_jobs(session, "w000007", state="failed"),
    "operators' list": lambda session, _: list_jobs(session, None),
    "operators' list, rare state": lambda session, _: list_jobs(session, None, state="failed"),
    "operators' list, state that none has": lambda session, _: list_jobs(session, None, state="running"),
    "by batch": lambda session, _: list_jobs(session, None, batch_id="batch_40"),
    "by run": lambda session, _: list_jobs(session, None, run_id="run_40"),
    "by submission": lambda session, _: list_jobs(session, None, submission_id="sub_40"),
    "table of a batch": lambda session, _: batch_jobs(session, "batch_40"),
    "runs that own a batch": lambda session, _: owning_runs(session),
    "batches without a run": lambda session, _: startable(session),
    "runs that never came": recovery.unstarted,
    "lapsed leases": lambda session, _: recovery.lapsed(session),
    "retirable": lambda session, settings: retirement.retirable(session, settings, limit=100),
    "recent entries": lambda session, _: recent_entries(session),
    "recent entries, rejected": lambda session, _: recent_entries(session, outcome="rejected"),
}


@pytest.fixture(scope="module", autouse=True)
def _filled(database: Database) -> None:
    with database.engine.begin() as connection:
        filling.history(connection, jobs=JOBS, per_batch=5)


@pytest.mark.parametrize("name", STATEMENTS)
def test_reads_what_it_shows_and_no_more(name: str, database: Database, settings: Settings) -> None:
    with database.session() as session:
        with rows_read(session) as read:
            STATEMENTS[name](session, settings)
        assert sum(read.values()) <= MOST_ROWS, read


@pytest.mark.slow
def test_the_benchmark_runs_at_any_size() -> None:
    figures = run(workspaces=20, items_each=30, jobs=1000)
    assert set(figures["batch_forming_tick_seconds"]) == {
        "20 workspaces x 30 items",
        "one workspace, 120 items",
        "20 lanes",
    }
    assert all(ticks["formed_items_median"] > 0 for ticks in figures["batch_forming_tick_seconds"].values())
    assert figures["milliseconds"]["operators' list"]["worst"] > 0
