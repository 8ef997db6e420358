"""The first step of a run: own the batch. And for the steps after it: the lease that the run holds."""

from collections.abc import Sequence
from datetime import UTC

from dagster import DagsterRun, Failure, In, MetadataValue, Nothing, OpDefinition, OpExecutionContext, Out, op

from audiomill.database.retrying import persistently
from audiomill.errors import LeaseRefused
from audiomill.jobs.batches import leases
from audiomill.jobs.batches.leases import Claim, Origin
from audiomill.jobs.batches.workers import this_worker
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

RUN_KEY_TAG = "dagster/run_key"
"""Dagster's own tag: the key under which a sensor asked for a run."""

STEPS = ("claim_batch", "work_batch", "close_batch")
"""The steps of a run by the names that they have in every product's graph."""


def claim_op(stage: str, made_from: Sequence[str]) -> OpDefinition:
    """The op that takes the lease of a batch of `stage`; it returns the batch id, the run's partition key."""

    @op(
        name=f"claim_{stage}_batch",
        description="Takes the lease. A batch that another live run works on, or that is unknown, is refused.",
        ins={name: In(Nothing) for name in made_from},
        out=Out(str, description="The batch id"),
    )
    @discreet
    def claim_batch(context: OpExecutionContext, database: DatabaseResource, settings: SettingsResource) -> str:
        claimed = _claim(context, database, settings, stage)
        context.log.info("%d items are to be worked on.", len(claimed.items))
        return claimed.batch_id

    return claim_batch


def lease_of(
    context: OpExecutionContext, database: DatabaseResource, settings: SettingsResource, *, stage: str
) -> Claim:
    """The lease that this run holds. Raises LeaseLost, or Failure when a new lease is refused.

    A run re-executed from failure skips the steps that went well the first time, so its first step holds nothing yet
    and claims here. No later step claims: what its run has lost is another's.
    """
    executed = context.run.step_keys_to_execute
    earlier = STEPS[: STEPS.index(context.op_handle.name)]
    if executed is not None and not any(key.endswith(f".{name}") for name in earlier for key in executed):
        return _claim(context, database, settings, stage)
    return persistently(
        database.get(),
        lambda session: leases.held(session, batch_id=context.partition_key, run_id=context.run_id),
        seconds=settings.get().lease.ttl_seconds,
    )


def _claim(context: OpExecutionContext, database: DatabaseResource, settings: SettingsResource, stage: str) -> Claim:
    config, origin, worker = settings.get(), _origin(context), str(this_worker())
    try:
        claimed = persistently(
            database.get(),
            lambda session: leases.claim(
                session,
                batch_id=context.partition_key,
                stage=stage,
                run_id=context.run_id,
                settings=config,
                origin=origin,
                worker=worker,
            ),
            seconds=config.lease.ttl_seconds,
        )
    except LeaseRefused as refused:
        raise Failure(
            refused.message, metadata={"code": MetadataValue.text(refused.code)}, allow_retries=False
        ) from refused
    # A partition materialised by hand has no tags of ours.
    context.instance.add_run_tags(
        context.run_id,
        {
            "audiomill/batch": claimed.batch_id,
            "audiomill/stage": claimed.stage,
            "audiomill/engine": claimed.engine,
            "audiomill/resource_class": claimed.resource_class,
        },
    )
    return claimed


def asked_for(run: DagsterRun) -> str | None:
    """The batch for which our sensor asked for this run. A re-execution only copied its parent's tags."""
    return run.tags.get(RUN_KEY_TAG) if run.parent_run_id is None else None


def _origin(context: OpExecutionContext) -> Origin:
    record = context.instance.get_run_record_by_id(context.run_id)
    return Origin(
        asked_for=asked_for(context.run) == context.partition_key,
        created_at=None if record is None else record.create_timestamp.replace(tzinfo=UTC),
    )
