"""Batching: work items become batches, and every batch that is formed gets a run."""

import time
from itertools import groupby

from dagster import DefaultSensorStatus, RunRequest, SensorEvaluationContext, SensorResult, sensor

from assets.batch_products import partitions_name
from assets.jobs import RESOURCE_CLASS_TAG, job_name, run_jobs
from audiomill.catalogue.stages import STAGES
from audiomill.database.connection import Database
from audiomill.jobs.batches.forming import StartableBatch, anything_queued, form_batches, mark_requested, startable
from audiomill.jobs.batches.waiting import listening
from audiomill.settings import Settings
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

BATCHES_PER_TICK = 50
"""Dagster enqueues some four runs a second, and a tick may last 60 s."""

BACKLOG_SECONDS = 0.5
"""How long a tick listens where items wait that cannot be batched now: for what was queued while it looked."""

GATHER_SECONDS = 0.1
"""After the first order of a burst: what comes with it shares its batch."""


@sensor(
    name="batching",
    description="Forms batches and asks for a run for each that is formed and has none.",
    jobs=run_jobs,
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def batching(context: SensorEvaluationContext, database: DatabaseResource, settings: SettingsResource) -> SensorResult:
    """Form, add the partition keys, ask for runs. A lost tick loses nothing. At rest it listens until work comes.

    A batch counts as requested only in the tick after: Dagster stores this tick's cursor together with its run
    requests, so the batches that come back in the cursor are those that Dagster surely has. A tick that is lost
    on the way asks again with the same run keys, the batches' ids, which Dagster starts once.
    """
    asked = set(filter(None, (context.cursor or "").split(",")))
    given = settings.get()
    with listening(database.get().url, given, wait=given.dagster.tick_wait_seconds > 0) as bell:
        waiting, backlog = _look(database.get(), given, asked)
        # What waits for a slot or for company is looked at by the next tick: nothing rings when its time comes. But
        # what was queued during this look has rung.
        if not waiting and bell.wait(BACKLOG_SECONDS if backlog else given.dagster.tick_wait_seconds):
            time.sleep(GATHER_SECONDS)
            waiting, _ = _look(database.get(), given, asked)
    # Before the requests: Dagster refuses a run for a partition that it does not know. In one call per set, since one
    # by one (`dynamic_partitions_requests`) each key costs a look-up.
    for stage, batches in groupby(sorted(waiting, key=lambda batch: batch.stage), key=lambda batch: batch.stage):
        context.instance.add_dynamic_partitions(partitions_name(STAGES[stage]), [batch.id for batch in batches])
    return SensorResult(
        run_requests=[run_request(batch) for batch in waiting],
        skip_reason=None if waiting else "No batch is waiting for a run.",
        cursor=",".join(batch.id for batch in waiting),
    )


def _look(database: Database, settings: Settings, asked: set[str]) -> tuple[list[StartableBatch], bool]:
    """Form batches; returns those that wait for a run, and whether items are left that wait for a batch."""
    with database.session() as session:
        known = [batch.id for batch in startable(session, limit=2 * BATCHES_PER_TICK) if batch.id in asked]
        if known:
            mark_requested(session, known)
        form_batches(session, settings, limit=BATCHES_PER_TICK)
        return startable(session, limit=BATCHES_PER_TICK), anything_queued(session)


def run_request(batch: StartableBatch) -> RunRequest:
    """What Dagster is asked for a batch. The tags find the run from the batch, and say what it needs."""
    return RunRequest(
        run_key=batch.id,
        partition_key=batch.id,
        job_name=job_name(STAGES[batch.stage], batch.resource_class),
        tags={
            "audiomill/batch": batch.id,
            "audiomill/stage": batch.stage,
            "audiomill/engine": batch.engine,
            RESOURCE_CLASS_TAG: batch.resource_class,
        },
    )
