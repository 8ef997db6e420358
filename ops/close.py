"""The last steps of a run: report what the batch made, give it up, and check the share that failed."""

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    Failure,
    In,
    MetadataValue,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    op,
)
from sqlalchemy.orm import Session

from audiomill.catalogue.stages import Stage
from audiomill.jobs.batches.manifests import ManifestJob, batch_manifest
from audiomill.jobs.queries import BatchRow, BatchView, batch_jobs, get_batch
from audiomill.milling.writer import BatchWriter
from ops.batch_report import failed_by_us, failed_share, figures, job_table, links, nothing_came_through
from ops.claim import lease_of
from ops.discretion import discreet
from resources import DatabaseResource, SettingsResource, StoreResource

CHECK_NAME = "failed_share"

OUR_FAULTS_LIMIT = 0.05
"""Of the jobs that ended. One file that breaks an engine is nothing to wake anybody for; one in twenty is."""


def close_op(stage: str) -> OpDefinition:
    """The op that writes the materialisation of a batch and gives its lease up."""

    @op(
        name=f"close_{stage}_batch",
        description="Reports counts, a table of jobs, and links to the picture and the manifest; gives the lease up. "
        "Fails where no job came through: nothing was made, so nothing is materialised.",
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
        config = settings.get()

        def read(session: Session) -> tuple[BatchView, list[BatchRow], tuple[ManifestJob, ...]]:
            return get_batch(session, batch_id), batch_jobs(session, batch_id), batch_manifest(session, batch_id)

        # The heartbeat goes on until the batch is given up: many jobs, or a slow store, take longer than a lease lives.
        with BatchWriter(database.get(), claim, config) as writer:
            batch, rows, manifest = writer.persistently(read)
            # Before the lease goes: when the store is away the run fails, and the batch is given up by recovery.
            # The table last: with hundreds of lines, what stands below it is not found.
            report = {
                "engine": MetadataValue.text(" ".join(filter(None, (batch.engine, batch.model)))),
                **figures(rows),
                **links(store.get(), batch, rows, manifest, config),
                "table": job_table(rows),
            }
            writer.close()
        if (why := nothing_came_through(rows)) is not None:
            # The batch is closed, so recovery has nothing to do with this failure. A partition is materialised when
            # there is something of it.
            raise Failure(why, metadata=report, allow_retries=False)
        context.add_output_metadata(report)

    return close_batch


def failed_share_op(stage: Stage) -> OpDefinition:
    """The op of the asset check. It has one output only: Dagster drops a check on a second one without a word."""

    @op(
        name=f"check_{stage.name}_batch",
        description="Passes when no job of the batch failed. Warns where customers' files were broken; an error where "
        f"more than {OUR_FAULTS_LIMIT:.0%} failed through a fault of ours. A batch of which nothing came through fails "
        "before this, as a run.",
        ins={"closed": In(Nothing)},
        out=Out(Nothing),
    )
    @discreet
    def check_batch(context: OpExecutionContext, database: DatabaseResource) -> AssetCheckResult:
        with database.get().session() as session:
            rows = batch_jobs(session, context.partition_key)
        share, by_us = failed_share(rows), failed_by_us(rows)
        return AssetCheckResult(
            asset_key=stage.product,
            check_name=CHECK_NAME,
            passed=share == 0,
            severity=AssetCheckSeverity.ERROR if by_us > OUR_FAULTS_LIMIT else AssetCheckSeverity.WARN,
            metadata={
                "failed_share": MetadataValue.float(round(share, 4)),
                "failed_by_us_share": MetadataValue.float(round(by_us, 4)),
                "failed": MetadataValue.int(sum(row.state == "failed" for row in rows)),
                "jobs": MetadataValue.int(len(rows)),
            },
        )

    return check_batch
