"""The `work` op, one for every stage: loads the batch's engine once and streams the batch through it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import structlog
from dagster import OpDefinition, OpExecutionContext, Out, op

from audiomill.audio import Envelope, contact_sheet
from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.protocols import Engine
from audiomill.errors import ConfigurationError, EngineUnavailable, NotFound, StorageUnavailable
from audiomill.formats import media_type_of
from audiomill.jobs.leases import Claim
from audiomill.receipts import SigningKey, signing_key
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.keys import batch_key
from ops.claim import lease_of
from ops.discretion import discreet
from ops.prepared import StageWork
from ops.recorder import Recorder
from ops.stream import work_off
from resources import DatabaseResource, EnginesResource, SettingsResource, StoreResource

PICTURE = "waveforms.png"

REPORT_OLDER_THAN_SECONDS = 600.0
"""A machine whose last word on its engines is newer is not asked again by a run: it takes a second or two."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bench:
    """What a stage works with."""

    engine: Engine
    store: ObjectStore
    key: SigningKey
    settings: Settings
    recorder: Recorder

    def known(self, artifact_key: str) -> bytes | None:
        """The stored result of an earlier job of the same making."""
        artifact = self.recorder.find_artifact(artifact_key)
        if artifact is None:
            return None
        try:
            return self.store.get_bytes(artifact.object_key)
        except NotFound:
            log.warning("artifact is gone from the store and is made again", artifact=artifact_key)
            return None


def work_op(stage: str, make: Callable[[Bench], StageWork[Any, Any]]) -> OpDefinition:
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
        if claim.items:
            resource_class = cast("ResourceClass", claim.resource_class)
            with Recorder(database.get(), claim, config) as recorder:
                try:
                    with engines.use(claim.engine, claim.model, resource_class) as engine:
                        bench = Bench(engine, objects, signing_key(config), config, recorder)
                        pictures = work_off(claim, make(bench), engine, recorder)
                except (EngineUnavailable, ConfigurationError) as error:
                    if claim.attempt < config.lease.max_attempts:
                        raise
                    # No file is to blame: splitting the batch to look for one would only start more such runs.
                    context.log.warning("The engine cannot run here: %s", error)
                    _fail_all(recorder, claim, error)
                    return batch_id
                except StorageUnavailable:
                    if _is_away(objects):
                        # Attempts are for what breaks runs: counted here, an outage would fail whole queues of files.
                        recorder.give_back("The object store was away; open items went back to their lane.")
                    raise
            _store_picture(objects, claim, pictures)
        context.log.info("%d items were worked on.", len(claim.items))
        return batch_id

    return work_batch


def _say_what_can_run(engines: EnginesResource, database: DatabaseResource) -> None:
    """This machine is one where runs execute. The run does not need it: what goes wrong is told and left."""
    try:
        engines.report(database.get(), older_than_seconds=REPORT_OLDER_THAN_SECONDS)
    except Exception:
        log.exception("what can run here could not be reported")


def _is_away(store: ObjectStore) -> bool:
    """Whether nothing can be had of the store, and not one object alone: that one a split would find."""
    try:
        store.ready()
    except StorageUnavailable:
        return True
    return False


def _fail_all(recorder: Recorder, claim: Claim, error: EngineUnavailable | ConfigurationError) -> None:
    # Why is the operator's to know and to mend: it names packages, folders and licences.
    failure = EngineUnavailable(
        f"The engine {claim.engine!r} can no longer run here. Order it again later, or with another engine."
    )
    failure.__cause__ = error
    for item in claim.items:
        recorder.fail(item.id, item.job_id, failure)


def _store_picture(store: ObjectStore, claim: Claim, pictures: list[tuple[str, Envelope]]) -> None:
    if pictures:
        # By id, that is as ordered: items end in any order.
        sheet = contact_sheet(sorted(pictures, key=lambda picture: picture[0]))
        store.put_bytes(batch_key(claim.batch_id, claim.fencing, PICTURE), sheet, media_type=media_type_of(PICTURE))
