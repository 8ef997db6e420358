"""The jobs that runs are started by: one per product and resource class, so that a run's tags say what it needs."""

from typing import get_args

from dagster import AssetSelection, define_asset_job

from audiomill.catalogue.stages import STAGES, ResourceClass, Stage

RESOURCE_CLASS_TAG = "audiomill/resource_class"


def job_name(stage: Stage, resource_class: str) -> str:
    """`transcripts_gpu`: the job that works off batches of that stage and class."""
    return f"{stage.product}_{resource_class}"


run_jobs = [
    define_asset_job(
        job_name(stage, resource_class),
        selection=AssetSelection.assets(stage.product),
        description=f"Works off one batch of {stage.name} on {resource_class}.",
        tags={RESOURCE_CLASS_TAG: resource_class, "audiomill/stage": stage.name},
    )
    for stage in STAGES.values()
    for resource_class in get_args(ResourceClass)
]

daily_tables = define_asset_job(
    "daily_tables",
    selection=AssetSelection.assets("transcript_words"),
    description="The tables of one day.",
)
