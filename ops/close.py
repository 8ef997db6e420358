"""The last steps of a run: report what the batch made, give it up, and check the share that failed."""

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    In,
    MetadataValue,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    op,
)

from audiomill.catalogue.stages import Stage
from audiomill.jobs import leases
from audiomill.jobs.manifests import batch_manifest
from audiomill.jobs.queries import batch_jobs, get_batch
from ops.batch_report import failed_share, figures, job_table, links
from ops.claim import lease_of
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource, StoreResource

CHECK_NAME = "failed_share"


def close_op(stage: str) -> OpDefinition:
    """The op that writes the materialisation of a batch and gives its lease up."""

    @op(
        name=f"close_{stage}_batch",
        description="Reports counts, a table of jobs, and links to the picture and the manifest; gives the lease up.",
        out=Out(Nothing),
    )
    @discreet
    def close_batch(
        context: OpExecutionContext,
        batch_id: str,
        database: DatabaseResource,
        store: StoreResource,
        settings: SettingsResource,
    ) -> None:
        claim = lease_of(context, database, settings, stage=stage)
        with database.get().session() as session:
            batch = get_batch(session, batch_id)
            rows = batch_jobs(session, batch_id)
            manifest = batch_manifest(session, batch_id)
        # Before the lease goes: when the store is away the run fails, and the batch is tried again as a whole.
        # The table last: with hundreds of lines, what stands below it is not found.
        report = {
            "engine": MetadataValue.text(" ".join(filter(None, (batch.engine, batch.model)))),
            **figures(rows),
            **links(store.get(), batch, rows, manifest, settings.get()),
            "table": job_table(rows),
        }
        with database.get().session() as session:
            leases.close(session, claim)
        context.add_output_metadata(report)

    return close_batch


def failed_share_op(stage: Stage) -> OpDefinition:
    """The op of the asset check. It has one output only: Dagster drops a check on a second one without a word."""

    @op(
        name=f"check_{stage.name}_batch",
        description="Passes when no job of the batch failed. Warns else: customers' broken files are no alarm.",
        ins={"closed": In(Nothing)},
        out=Out(Nothing),
    )
    @discreet
    def check_batch(context: OpExecutionContext, database: DatabaseResource) -> AssetCheckResult:
        with database.get().session() as session:
            rows = batch_jobs(session, context.partition_key)
        share = failed_share(rows)
        return AssetCheckResult(
            asset_key=stage.product,
            check_name=CHECK_NAME,
            passed=share == 0,
            severity=AssetCheckSeverity.WARN,
            metadata={
                "failed_share": MetadataValue.float(round(share, 4)),
                "failed": MetadataValue.int(sum(row.state == "failed" for row in rows)),
                "jobs": MetadataValue.int(len(rows)),
            },
        )

    return check_batch
