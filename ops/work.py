"""The `work` op, one for every stage: loads the batch's engine once and streams the batch through it."""

from typing import cast

import structlog
from dagster import OpDefinition, OpExecutionContext, Out, op

from audiomill.audio import Envelope, contact_sheet
from audiomill.audio.decoders import decoders
from audiomill.catalogue.stages import ResourceClass
from audiomill.errors import LeaseLost
from audiomill.formats import media_type_of
from audiomill.jobs.batches.leases import Claim
from audiomill.milling.bench import Bench
from audiomill.milling.stream import why_given_back, work_off
from audiomill.milling.whose import is_well, whose
from audiomill.milling.writer import BatchWriter
from audiomill.receipts import signing_key
from audiomill.scratch import run_scratch, scratch_root, sweep
from audiomill.stages import STAGE_WORK
from audiomill.storage import ObjectStore
from audiomill.storage.keys import batch_key
from ops.claim import lease_of
from ops.discretion import discreet
from resources import DatabaseResource, EnginesResource, SettingsResource, StoreResource

PICTURE = "waveforms.png"

REPORT_OLDER_THAN_SECONDS = 600.0
"""A machine whose last word on its engines is newer is not asked again by a run: it takes a second or two."""

log = structlog.get_logger(__name__)


def work_op(stage: str) -> OpDefinition:
    """The op that works a batch of `stage` off. It returns the batch id."""

    @op(
        name=f"{stage}_batch",
        description="Streams the batch through the engine. Each item is complete, or failed with a reason, on its own.",
        out=Out(str, description="The batch id"),
    )
    @discreet
    def work_batch(
        context: OpExecutionContext,
        batch_id: str,
        database: DatabaseResource,
        store: StoreResource,
        settings: SettingsResource,
        engines: EnginesResource,
    ) -> str:
        claim = lease_of(context, database, settings, stage=stage)
        config, objects = settings.get(), store.get()
        _say_what_can_run(engines, database)
        sweep(config.data_dir)
        if claim.items:
            if any(item.kind == "audio" for item in claim.items):
                decoders().begin()  # while the engine is loaded: the first file needs both
            resource_class = cast("ResourceClass", claim.resource_class)
            place = scratch_root(config.data_dir)
            with BatchWriter(database.get(), claim, config, well=lambda: is_well(objects, place)) as writer:
                try:
                    with (
                        run_scratch(config.data_dir, context.run_id) as scratch,
                        engines.use(claim.engine, claim.model, resource_class) as engine,
                    ):
                        bench = Bench(engine, objects, signing_key(config), config, writer)
                        pictures = work_off(
                            claim,
                            STAGE_WORK[stage](bench),
                            engine,
                            writer,
                            scratch,
                            whose=lambda error: whose(error, objects, place),
                        )
                    _store_picture(objects, claim, pictures)
                except LeaseLost:
                    raise
                except BaseException as error:
                    # Whatever it was, it is no fault of the items that are open. Harmless when that was done before.
                    writer.give_back(why_given_back(error))
                    raise
        context.log.info("%d items were worked on.", len(claim.items))
        return batch_id

    return work_batch


def _say_what_can_run(engines: EnginesResource, database: DatabaseResource) -> None:
    """This machine is one where runs execute. The run does not need it: what goes wrong is told and left."""
    try:
        engines.report(database.get(), older_than_seconds=REPORT_OLDER_THAN_SECONDS)
    except Exception:
        log.exception("what can run here could not be reported")


def _store_picture(store: ObjectStore, claim: Claim, pictures: list[tuple[str, Envelope]]) -> None:
    if pictures:
        # By id, that is as ordered: items end in any order.
        sheet = contact_sheet(sorted(pictures, key=lambda picture: picture[0]))
        store.put_bytes(batch_key(claim.batch_id, claim.fencing, PICTURE), sheet, media_type=media_type_of(PICTURE))
