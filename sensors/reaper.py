"""The reaper: what was lost is found and mended, job by job; one that breaks does not keep the others from theirs.

Only the Kubernetes and ECS launchers of Dagster look after their runs' health, so liveness is our own: the lease. How
a run of Dagster is ended, and whether its process lives, is in dagster_runs.py.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from audiomill.database.connection import Database
from audiomill.faults import told_with_causes
from audiomill.jobs.batches import recovery
from audiomill.jobs.batches.workers import RunProcess, end, fate_of, forget, left_notes
from audiomill.jobs.queries import owning_runs
from audiomill.scratch import sweep as sweep_scratch
from audiomill.settings import Settings
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource
from sensors.dagster_runs import end_run, process_is_gone, without_live_run

log = structlog.get_logger(__name__)

PER_TICK = 50
AT_WORK = [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


@dataclass
class _Sweep:
    """One tick: what its jobs work with, and what they did. `since`: when each run was first seen to be amiss."""

    instance: DagsterInstance
    database: Database
    settings: Settings
    since: dict[str, float]
    seen: dict[str, float] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def amiss_for(self, run_id: str, now: float) -> float:
        """Seconds since this run was first seen to be amiss, in sweeps one after the other."""
        self.seen[run_id] = self.since.get(run_id, now)
        return now - self.seen[run_id]


@sensor(
    name="reaper",
    description="Ends runs that fell silent or died, and mends what differs between Dagster and the database.",
    minimum_interval_seconds=Settings().lease.sweep_seconds,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def reaper(context: SensorEvaluationContext, database: DatabaseResource, settings: SettingsResource) -> SensorResult:
    """The cursor holds since when each run was seen to be amiss: one that has just given its batch up is no stray."""
    since = json.loads(context.cursor) if context.cursor else {}
    sweep = _Sweep(context.instance, database.get(), settings.get(), since)
    for job in (_lapsed, _never_came, _strays, _dead, _left_notes, _left_scratch, _resting):
        _try(job, sweep, context)
    said = " ".join(sweep.done) or "Nothing was amiss."
    if sweep.done:
        context.log.warning(said)
    return SensorResult(skip_reason=said, cursor=json.dumps(sweep.seen))


def _try(job: Callable[[_Sweep], None], sweep: _Sweep, context: SensorEvaluationContext) -> None:
    try:
        job(sweep)
    except Exception as error:
        # Dagster's `log.exception` would print the error's own text, and a customer's with it: see ops/discretion.py.
        log.exception("a job of the reaper broke", job=job.__name__)
        context.log.error(  # noqa: TRY400
            "The reaper's job %s broke; the others go on. %s", job.__name__, told_with_causes(error)
        )
        sweep.done.append(f"{job.__name__.strip('_')} broke.")
        # What it would have seen again is not forgotten.
        sweep.seen = {**sweep.since, **sweep.seen}


def _lapsed(sweep: _Sweep) -> None:
    """Leases that lapsed: each batch in a transaction of its own, then the process, then Dagster's run."""
    config = sweep.settings
    with sweep.database.session() as session:
        silent = recovery.lapsed(session, limit=PER_TICK)
    ended, errors = [], []
    for owned in silent:
        try:
            run = sweep.instance.get_run_by_id(owned.run_id)
            fate = fate_of(config, owned.run_id, owned.worker)
            with sweep.database.session() as session:
                if run is not None and run.status == DagsterRunStatus.CANCELED:
                    # Dagster's sensor takes five runs a tick, and may come late.
                    recovery.run_cancelled(session, run_id=owned.run_id)
                elif not recovery.expire(session, owned, fate, config):
                    continue
            forget(config, owned.run_id)
            ended.append(owned)
        except Exception as error:  # noqa: BLE001 - one bad row does not keep the others waiting; told below
            errors.append(error)
    workers = [worker for owned in ended if (worker := RunProcess.parse(owned.worker)) is not None]
    killed = end(workers, grace_seconds=config.lease.grace_seconds)
    for owned in ended:
        end_run(sweep.instance, owned.run_id, f"Its lease on batch {owned.batch_id} lapsed: it fell silent.")
    if ended:
        sweep.done.append(f"{len(ended)} leases lapsed, {killed} processes were ended.")
    if errors:
        raise ExceptionGroup(f"{len(errors)} lapsed leases could not be taken", errors)


def _never_came(sweep: _Sweep) -> None:
    """Batches whose run was asked for and did not come. One in a long queue is no loss."""
    with sweep.database.session() as session:
        unstarted = recovery.unstarted(session, sweep.settings)
    given_up = 0
    for batch_id in without_live_run(sweep.instance, unstarted):
        with sweep.database.session() as session:
            given_up += recovery.never_came(session, batch_id, sweep.settings)
    if given_up:
        sweep.done.append(f"{given_up} runs never came.")


def _strays(sweep: _Sweep) -> None:
    """Runs of batches that are at work but own none. There are as many at work as there are slots, no more."""
    # Runs first: one that claims in between is then seen with its batch.
    runs = sweep.instance.get_runs(RunsFilter(statuses=AT_WORK), limit=PER_TICK)
    of_batches = [run for run in runs if "audiomill/batch" in run.tags]
    if not of_batches:
        return
    with sweep.database.session() as session:
        owners = owning_runs(session)
    now, ended = time.time(), 0
    for run in of_batches:
        if run.run_id not in owners and sweep.amiss_for(run.run_id, now) > sweep.settings.lease.ttl_seconds:
            end_run(sweep.instance, run.run_id, "It runs on without a batch.", sweep.settings.lease.grace_seconds)
            ended += 1
    if ended:
        sweep.done.append(f"{ended} runs had no batch.")


def _dead(sweep: _Sweep) -> None:
    """Runs of any kind that Dagster takes for alive and whose process is gone: they would hold their slots for ever."""
    runs = sweep.instance.get_runs(RunsFilter(statuses=AT_WORK), limit=PER_TICK)
    now, ended = time.time(), 0
    for run in runs:
        # Seen twice: Dagster says itself within a second or two that a process ended, if its code server lives.
        if not process_is_gone(sweep.instance, run) or _works(sweep, run.run_id):
            continue
        if sweep.amiss_for(f"dead {run.run_id}", now) > 0:
            end_run(sweep.instance, run.run_id, "Its process is gone.")
            ended += 1
    if ended:
        sweep.done.append(f"{ended} runs had no process.")


def _works(sweep: _Sweep, run_id: str) -> bool:
    """Whether the process that owns the run's batch lives: after the clock was set, Dagster's times do not tell."""
    with sweep.database.session() as session:
        owned = recovery.owned_by(session, run_id)
    worker = RunProcess.parse(owned.worker) if owned is not None else None
    return worker is not None and worker.process() is not None


def _left_notes(sweep: _Sweep) -> None:
    """Notes of processes that are gone, and that nobody needs as proof."""
    left = left_notes(sweep.settings)
    if left:
        with sweep.database.session() as session:
            owners = owning_runs(session)
        for run_id in left:
            if run_id not in owners:
                forget(sweep.settings, run_id)


def _left_scratch(sweep: _Sweep) -> None:
    """Customers' sound in folders of runs that are gone: on this machine's disk no longer than until the next tick."""
    swept = sweep_scratch(sweep.settings.data_dir)
    if swept:
        sweep.done.append(f"{swept} left-over scratch folders were removed.")


def _resting(sweep: _Sweep) -> None:
    """Say which lanes rest because their runs break one after the other: an operator should look."""
    with sweep.database.session() as session:
        paused = recovery.paused_lanes(session)
    sweep.done += [f"Lane {lane} rests: {breaks} runs broke. {note}" for lane, breaks, note in paused if breaks > 1]
