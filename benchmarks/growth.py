"""What a long queue and a long history cost: batch forming by tick, and what is asked often, at sizes of your choice.

`python -m benchmarks.growth --json PATH` fills an embedded database in a temporary folder with 1,000 workspaces x 1,000
queued items, then 200,000 of one workspace, then 1,000 lanes, and with a million finished jobs. Some minutes and 4 GB.
The key `batch_forming_tick_seconds` has the worst and the median tick of each queue, and the WAL that a tick wrote.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.database.embedded import ensure_server
from audiomill.database.migrate import upgrade
from audiomill.inbox.entries import recent_entries
from audiomill.jobs.batches import retirement
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.pages import list_jobs
from audiomill.settings import Settings
from benchmarks import filling

TICKS = 10
ASKED = 10


@dataclass(frozen=True)
class Ticks:
    """Ticks over one queue, each with all slots free. `wal_bytes` is a median."""

    items: int
    formed_items_median: float
    median: float
    worst: float
    wal_bytes_median: float
    full_queue_median: float


@dataclass(frozen=True)
class Milliseconds:
    """Of one question, asked several times."""

    median: float
    worst: float


def ticks(database: Database, settings: Settings, *, workspaces: int, items_each: int, lanes: int = 1) -> Ticks:
    """Fill the queue, and form batches from it; between the ticks, what was formed is put back."""
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE work_items, batches, turns CASCADE"))
        filling.queue(connection, workspaces=workspaces, items_each=items_each, lanes=lanes)
    seconds, full, wal, formed = [], [], [], []
    for _ in range(TICKS):
        with database.engine.connect() as connection:
            before = connection.scalar(text("SELECT pg_current_wal_insert_lsn()"))
        seconds.append(_timed(database, lambda session: form_batches(session, settings)))
        with database.engine.connect() as connection:
            wal.append(
                float(connection.scalar(text("SELECT pg_current_wal_insert_lsn() - CAST(:l AS pg_lsn)"), {"l": before}))
            )
        full.append(_timed(database, lambda session: form_batches(session, settings)))
        with database.session() as session:
            formed.append(int(session.scalar(text("SELECT sum(item_count) FROM batches WHERE state = 'formed'")) or 0))
            session.execute(
                text(
                    "UPDATE work_items SET state = 'queued', batch_id = NULL FROM batches "
                    "WHERE batches.state = 'formed' AND batch_id = batches.id"
                )
            )
            session.execute(text("UPDATE batches SET state = 'closed' WHERE state = 'formed'"))
    return Ticks(
        items=workspaces * items_each,
        formed_items_median=statistics.median(formed),
        median=round(statistics.median(seconds), 4),
        worst=round(max(seconds), 4),
        wal_bytes_median=statistics.median(wal),
        full_queue_median=round(statistics.median(full), 4),
    )


def questions(database: Database, settings: Settings, *, jobs: int) -> Mapping[str, Milliseconds]:
    """What is asked often, after so many finished jobs."""
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE work_items, batches, turns CASCADE"))
        filling.history(connection, jobs=jobs)
    batch = jobs // 2 // 250
    asked: dict[str, Callable[[Session], object]] = {
        "page of a workspace": lambda session: list_jobs(session, "w000007"),
        "rare state of a workspace": lambda session: list_jobs(session, "w000007", state="failed"),
        "by batch": lambda session: list_jobs(session, None, batch_id=f"batch_{batch}"),
        "by run": lambda session: list_jobs(session, None, run_id=f"run_{batch}"),
        "by submission": lambda session: list_jobs(session, None, submission_id=f"sub_{jobs // 2 // 100}"),
        "operators' list": lambda session: list_jobs(session, None),
        "operators' list, rare state": lambda session: list_jobs(session, None, state="failed"),
        "retirable": lambda session: retirement.retirable(session, settings),
        "recent inbox entries": recent_entries,
        "recent inbox entries, rejected": lambda session: recent_entries(session, outcome="rejected"),
    }
    figures = {}
    for name, ask in asked.items():
        taken = sorted(1000 * _timed(database, ask) for _ in range(ASKED))
        figures[name] = Milliseconds(round(statistics.median(taken), 2), round(taken[-1], 2))
    return figures


def _timed(database: Database, action: Callable[[Session], object]) -> float:
    began = time.perf_counter()
    with database.session() as session:
        action(session)
    return time.perf_counter() - began


def run(*, workspaces: int, items_each: int, jobs: int) -> dict[str, object]:
    """All of it, one after the other, on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="audiomill-benchmark-") as folder:
        Path(folder).chmod(0o755)  # the embedded server may run as another user
        settings = Settings(data_dir=Path(folder))
        server = ensure_server(settings)
        database = Database.from_settings(settings)
        try:
            upgrade(database.engine)
            whole = ticks(database, settings, workspaces=workspaces, items_each=items_each)
            return {
                "cores": len(os.sched_getaffinity(0)),
                "load_average": round(os.getloadavg()[0], 2),
                "batch_forming_tick_seconds": {
                    f"{workspaces} workspaces x {items_each} items": asdict(whole),
                    f"one workspace, {workspaces * items_each // 5} items": asdict(
                        ticks(database, settings, workspaces=1, items_each=workspaces * items_each // 5)
                    ),
                    f"{workspaces} lanes": asdict(
                        ticks(database, settings, workspaces=10, items_each=workspaces * 10, lanes=workspaces)
                    ),
                },
                "finished_jobs": jobs,
                "milliseconds": {name: asdict(each) for name, each in questions(database, settings, jobs=jobs).items()},
            }
        finally:
            database.dispose()
            server.stop()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written; printed as well")
    parser.add_argument("--workspaces", type=int, default=1000, help="with something queued")
    parser.add_argument("--items", type=int, default=1000, help="queued by each")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="finished")
    arguments = parser.parse_args()
    figures = run(workspaces=arguments.workspaces, items_each=arguments.items, jobs=arguments.jobs)
    said = json.dumps(figures, indent=2)
    if arguments.json is not None:
        arguments.json.write_text(said + "\n", encoding="utf-8")
    print(said)


if __name__ == "__main__":
    main()
