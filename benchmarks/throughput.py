"""A corpus through the whole platform, from the inbox to outputs."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import BatchFigures, EngineFigures, overhead_ms_per_file
from benchmarks.processor_time import total, used
from benchmarks.running import RunningPlatform

TOOK = "w.engine = :engine AND j.created_at >= to_timestamp(:since)"
STALLED_SECONDS = 300.0
"""Without a job ending for so long something is wrong: the benchmark gives up."""


def through_the_platform(
    platform: RunningPlatform, recipe: str, engine: str, inputs: Sequence[Path], engine_seconds: float
) -> EngineFigures:
    """Drop the inputs, wait for every job, and say what it took. Raises TimeoutError when the platform stands still."""
    runs_before = platform.run_count()
    since = time.time()

    def work() -> None:
        _drop(platform.inbox / recipe, inputs)
        _wait(platform, engine, since, len(inputs))
        platform.wait_for_runs()

    spent = used(work)
    ((last, taken, failed),) = platform.rows(
        "SELECT extract(epoch FROM max(j.finished_at)), extract(epoch FROM max(j.created_at)), "
        f"count(*) FILTER (WHERE j.state <> 'complete') FROM jobs j JOIN work_items w ON w.job_id = j.id WHERE {TOOK}",
        engine=engine,
        since=since,
    )
    seconds = float(last) - since
    return EngineFigures(
        files=len(inputs),
        seconds=round(seconds, 2),
        engine_seconds=round(engine_seconds, 2),
        overhead_ms_per_file=round(overhead_ms_per_file(seconds, engine_seconds, len(inputs)), 1),
        cpu_seconds_all_processes=round(total(spent), 1),
        cpu_seconds_by_program={program: round(used_seconds, 1) for program, used_seconds in spent.items()},
        run_count=platform.run_count() - runs_before,
        failed=int(failed),
        taken_seconds=round(float(taken) - since, 2),
        batches=_batches(platform, engine, since),
    )


def _drop(folder: Path, inputs: Sequence[Path]) -> None:
    """Hard links: all files appear at once, as a finished upload does."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in inputs:
        os.link(path, folder / path.name)


def _wait(platform: RunningPlatform, engine: str, since: float, files: int) -> None:
    done, moved = 0, time.monotonic()
    while done < files:
        time.sleep(1)
        platform.check()
        ((now,),) = platform.rows(
            "SELECT count(*) FROM jobs j JOIN work_items w ON w.job_id = j.id "
            f"WHERE {TOOK} AND j.finished_at IS NOT NULL",
            engine=engine,
            since=since,
        )
        if now // 100 > done // 100:
            print(f"{engine}, platform: {now} of {files} after {time.time() - since:.0f} s", flush=True)
        if now > done:
            moved = time.monotonic()
        elif time.monotonic() - moved > STALLED_SECONDS:
            raise TimeoutError(f"{engine}: {now} of {files} jobs ended, and none for {STALLED_SECONDS:.0f} s")
        done = now


def _batches(platform: RunningPlatform, engine: str, since: float) -> list[BatchFigures]:
    rows = platform.rows(
        "SELECT count(*), extract(epoch FROM b.created_at), extract(epoch FROM min(w.started_at)), "
        "extract(epoch FROM max(w.finished_at)) "
        "FROM batches b JOIN work_items w ON w.batch_id = b.id JOIN jobs j ON j.id = w.job_id "
        f"WHERE {TOOK} GROUP BY b.id ORDER BY b.created_at",
        engine=engine,
        since=since,
    )
    return [BatchFigures(items, *(round(float(moment) - since, 2) for moment in moments)) for items, *moments in rows]
