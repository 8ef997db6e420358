"""How a stage's product is made of batches: claim, work, close, each batch a partition. One product's words are in
its own file (transcripts.py, speech.py)."""

import warnings

from dagster import (
    AllPartitionMapping,
    AssetCheckSpec,
    AssetIn,
    AssetsDefinition,
    DynamicPartitionsDefinition,
    Nothing,
    PreviewWarning,
    graph_asset,
)

from audiomill.catalogue.stages import Stage
from ops.claim import STEPS, claim_op
from ops.close import CHECK_NAME, close_op, failed_share_op
from ops.work import work_op

FINDING = (
    "A partition is a batch. Its jobs: `audiomill jobs list --batch <partition>`; a run's: `audiomill jobs list --run "
    "<run id>`. The batch and the run of a job: `audiomill jobs show <job>`. A batch may be materialised again: what "
    "is complete stays, and what failed is tried again. `engine_seconds` is the time by the clock in which the engine "
    "was at work for the jobs that completed, calls side by side counted once; `real_time_factor` is that over the "
    "length of their audio. Both leave out `recalled` jobs, whose result was there already. A batch of which no job "
    "came through is not materialised: its run fails and says why."
)
"""How an operator gets from here to the jobs and back, and what the figures mean; shown with each product."""


def partitions_name(stage: Stage) -> str:
    """Name of a stage's own set of partition keys: in a shared set each grid would show the others' batches."""
    return f"{stage.product.removesuffix('s')}_batches"


def batch_product(stage: Stage, *, description: str, code_version: str, kinds: set[str]) -> AssetsDefinition:
    """The asset of a stage: `claim_batch → work_batch → close_batch`, and the check `failed_share`.

    code_version: raised when the same input would come out differently; without it the run id would take its place.
    """
    batches = DynamicPartitionsDefinition(name=partitions_name(stage))
    description = f"{description}\n\n{FINDING}"
    with warnings.catch_warnings():
        # A preview in Dagster 1.13; without it the check could not say which batch it speaks of.
        warnings.simplefilter("ignore", PreviewWarning)
        check = AssetCheckSpec(
            CHECK_NAME,
            asset=stage.product,
            description="The share of the batch's jobs that failed. Their customers have been told why.",
            partitions_def=batches,
        )

    @graph_asset(
        name=stage.product,
        description=description,
        group_name="products",
        kinds=kinds,
        owners=["team:audiomill"],
        code_version=code_version,
        partitions_def=batches,
        # A batch may hold recordings of any day. Nothing is loaded: the ops read the store themselves.
        ins={"recordings": AssetIn(dagster_type=Nothing, partition_mapping=AllPartitionMapping())},
        check_specs=[check],
    )
    def product(recordings):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - a composition, not a function
        claim_step, work_step, close_step = STEPS
        batch_id = claim_op(stage.name).alias(claim_step)(recordings)
        closed = close_op(stage.name).alias(close_step)(work_op(stage.name).alias(work_step)(batch_id))
        share = failed_share_op(stage).alias(CHECK_NAME)(closed)
        return {"result": closed, check.get_python_identifier(): share}

    return product
