"""Orders for the real engines, worked off in this process: what comes out is read back as the customer would get it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import DagsterInstance, Definitions

from assets.batch_products import partitions_name
from assets.jobs import job_name
from audiomill.catalogue.recipes import recipe
from audiomill.catalogue.stages import STAGES
from audiomill.database.connection import Database
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import JobView, get_batch, get_job
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.keys import upload_key
from tests.fakes.orders import order
from tests.pipeline.conftest import WORKSPACE

ENGINES = {"transcribe": "pocketsphinx", "synthesize": "espeak-ng"}
RECEIPT = ".receipt.json"


@dataclass(frozen=True)
class Mill:
    """The whole path from an order to its outputs, without a daemon."""

    database: Database
    store: ObjectStore
    settings: Settings
    definitions: Definitions
    instance: DagsterInstance

    def order(
        self,
        inputs: Sequence[bytes],
        recipe_name: str = "transcribe",
        *,
        workspace_id: str = WORKSPACE,
        **parameters: Any,
    ) -> tuple[str, ...]:
        """Order a recipe of the embedded engine for each input; returns the job ids.

        espeak-ng's voice is hardly understood: name its language, or it may be refused as another.
        """
        engine = ENGINES[recipe(recipe_name).capability]
        jobs = []
        for data in inputs:
            key = upload_key(workspace_id, uuid.uuid4().hex)
            self.store.put_bytes(key, data)
            given = InputObject(key, self.store.version(key), len(data), f"{uuid.uuid4().hex}.any")
            jobs.append(NewJob(recipe_name, {"engine": engine, **parameters}, given))
        return order(self.database, self.settings, workspace_id, jobs).job_ids

    def work(self) -> list[str]:
        """Form batches of what is queued and run each; returns their ids."""
        with self.database.session() as session:
            batch_ids = form_batches(session, self.settings)
        for batch_id in batch_ids:
            with self.database.session() as session:
                batch = get_batch(session, batch_id)
            stage = STAGES[batch.stage]
            self.instance.add_dynamic_partitions(partitions_name(stage), [batch_id])
            job = self.definitions.resolve_job_def(job_name(stage, batch.resource_class))
            assert job.execute_in_process(instance=self.instance, partition_key=batch_id).success
        return list(batch_ids)

    def job(self, job_id: str) -> JobView:
        """As it is now."""
        with self.database.session() as session:
            return get_job(session, None, job_id)

    def files(self, job_id: str) -> Mapping[str, bytes]:
        """The outputs of a complete job by name, receipts among them."""
        job = self.job(job_id)
        assert (job.state, job.failure_reason) == ("complete", None)
        return {output.name: self.store.get_bytes(output.object_key) for output in job.outputs}

    def deliverables(self, job_id: str) -> Mapping[str, bytes]:
        """The same without receipts, which carry times."""
        return {name: data for name, data in self.files(job_id).items() if not name.endswith(RECEIPT)}
