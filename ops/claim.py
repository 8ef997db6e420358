"""The first step of a run: own the batch. And for the steps after it: the lease that the run holds."""

from dagster import Failure, In, MetadataValue, Nothing, OpDefinition, OpExecutionContext, Out, op

from audiomill.errors import LeaseRefused
from audiomill.jobs import leases, queries
from audiomill.jobs.leases import Claim
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource

STEPS = ("claim_batch", "work_batch", "close_batch")
"""The steps of a run by the names that they have in every product's graph."""


def claim_op(stage: str) -> OpDefinition:
    """The op that takes the lease of a batch of `stage`; it returns the batch id, the run's partition key."""

    @op(
        name=f"claim_{stage}_batch",
        description="Takes the lease. A batch that another live run works on, or that is unknown, is refused.",
        ins={"recordings": In(Nothing)},
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
    with database.get().session() as session:
        return leases.held(session, batch_id=context.partition_key, run_id=context.run_id)


def _claim(context: OpExecutionContext, database: DatabaseResource, settings: SettingsResource, stage: str) -> Claim:
    try:
        with database.get().session() as session:
            claimed = leases.claim(
                session,
                batch_id=context.partition_key,
                stage=stage,
                run_id=context.run_id,
                settings=settings.get(),
            )
            attempt = queries.get_batch(session, claimed.batch_id).attempt
    except LeaseRefused as refused:
        raise Failure(
            refused.message, metadata={"code": MetadataValue.text(refused.code)}, allow_retries=False
        ) from refused
    # A partition materialised by hand has no tags of ours, and a re-execution has its parent's.
    context.instance.add_run_tags(
        context.run_id,
        {
            "audiomill/batch": claimed.batch_id,
            "audiomill/stage": claimed.stage,
            "audiomill/engine": claimed.engine,
            "audiomill/resource_class": claimed.resource_class,
            "audiomill/attempt": str(attempt),
        },
    )
    return claimed
