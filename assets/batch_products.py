"""How a stage's product is made of batches: claim, work, close, each batch a partition. One product's words are in
its own file (transcripts.py, speech.py)."""

import warnings
from collections.abc import Sequence
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckSpec,
    AssetIn,
    AssetsDefinition,
    DynamicPartitionsDefinition,
    Nothing,
    PartitionMapping,
    PreviewWarning,
    SpecificPartitionsPartitionMapping,
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


RECORDINGS = "recordings"


def _mapping(source: str) -> PartitionMapping:
    """A batch may hold recordings of any day. Of which batches a batch is made is known of each item, and to us only:
    to Dagster it is none of them, for to name all would cost each run a look at all keys that there are.
    """
    return AllPartitionMapping() if source == RECORDINGS else SpecificPartitionsPartitionMapping([])


def partitions_name(stage: Stage) -> str:
    """Name of a stage's own set of partition keys: in a shared set each grid would show the others' batches."""
    return f"{stage.product.removesuffix('s')}_batches"


def batch_product(
    stage: Stage,
    *,
    description: str,
    code_version: str,
    kinds: set[str],
    made_from: Sequence[str] = (RECORDINGS,),
) -> AssetsDefinition:
    """The asset of a stage: `claim_batch → work_batch → close_batch`, and the check `failed_share`.

    made_from: the assets that its items are made of, by their names, so that the lineage reads as the product does.
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
        # Nothing is loaded: the ops read the store themselves.
        ins={name: AssetIn(dagster_type=Nothing, partition_mapping=_mapping(name)) for name in made_from},
        check_specs=[check],
    )
    def product(**sources: Any):  # type: ignore[no-untyped-def]  # noqa: ANN202, ANN401 - a composition, no function
        claim_step, work_step, close_step = STEPS
        batch_id = claim_op(stage.name, made_from).alias(claim_step)(**sources)
        closed = close_op(stage.name).alias(close_step)(work_op(stage.name).alias(work_step)(batch_id))
        share = failed_share_op(stage).alias(CHECK_NAME)(closed)
        return {"result": closed, check.get_python_identifier(): share}

    return product
