"""Runs as Dagster knows them: whether their process lives, which wait or work, and how one is ended."""

import psutil
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultRunLauncher,
    RunsFilter,
)

from audiomill.jobs.batches.workers import end, worker_of

LIVE = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_CLOCKS_SECONDS = 2.0


def end_run(instance: DagsterInstance, run_id: str, reason: str, grace_seconds: float | None = None) -> None:
    """End a run so that its slot is free: ask its process to stop, then say that it failed. Harmless when it ended.

    `grace_seconds`: kill its process too, after so long.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    instance.report_engine_event(f"audiomill ends this run. {reason}", run)
    try:
        # Nobody is there to be asked any more, and Dagster's code server, asked to, would wait for an answer for ever.
        if not process_is_gone(instance, run):
            instance.run_launcher.terminate(run_id)
    except Exception as error:  # noqa: BLE001 - any launcher; where its process is gone there is nothing to stop
        instance.report_engine_event(f"Its process could not be reached: {error}", run)
    process = _process(instance, run)
    if grace_seconds is not None and process is not None:
        try:
            worker = worker_of(process)
        except psutil.Error:
            return
        end([worker], grace_seconds=grace_seconds)
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, f"Ended by audiomill. {reason}")


def without_live_run(instance: DagsterInstance, batch_ids: list[str]) -> list[str]:
    """Those for which Dagster has no run that is waiting or working."""
    if not batch_ids:
        return []
    records = instance.get_run_records(RunsFilter(tags={"audiomill/batch": batch_ids}, statuses=LIVE))
    live = {record.dagster_run.tags["audiomill/batch"] for record in records}
    return [batch_id for batch_id in batch_ids if batch_id not in live]


def process_is_gone(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether the process that was started for a run is known, was of this machine, and is gone.

    Dagster's default launcher starts runs beside its code server, which is where this is asked; of other launchers
    nothing is known here.
    """
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return False
    return _started(instance, run) is not None and _process(instance, run) is None


def _started(instance: DagsterInstance, run: DagsterRun) -> tuple[int, float] | None:
    """(process id, time) of the newest process that was started for a run."""
    records = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ENGINE_EVENT).records
    found: tuple[int, float] | None = None
    for record in records:
        event = record.event_log_entry.dagster_event
        metadata = event.engine_event_data.metadata if event is not None else {}
        pid = str(metadata["pid"].value) if "pid" in metadata else ""
        if pid.isdecimal() and event is not None and (event.message or "").startswith("Started process for run"):
            found = int(pid), record.event_log_entry.timestamp
    return found


def _process(instance: DagsterInstance, run: DagsterRun) -> psutil.Process | None:
    started = _started(instance, run)
    if started is None:
        return None
    pid, at = started
    try:
        process = psutil.Process(pid)
        # One that was started after that event only got the number again.
        is_it = process.create_time() <= at + _CLOCKS_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if is_it else None
