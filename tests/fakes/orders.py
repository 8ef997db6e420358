"""Orders for tests of audiomill.jobs: a workspace, engines that a worker reported, jobs submitted."""

import uuid
from collections.abc import Sequence

from sqlalchemy import text

from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.database.tables import Workspace
from audiomill.jobs.availability import report
from audiomill.jobs.batches.leases import Claim, ClaimedItem
from audiomill.jobs.batches.working import ArtifactRecord, ItemResult, OutputRecord
from audiomill.jobs.submission import InputObject, NewJob, Submitted, submit
from audiomill.settings import Settings

POCKETSPHINX = AvailabilityReport("pocketsphinx", None, "cpu", "speech_to_text", 1, True, None, ("en", "en-us"))
ESPEAK = AvailabilityReport("espeak-ng", None, "cpu", "text_to_speech", 0, True, None, ("en", "en-us", "de"))
WHISPER_WITHOUT_WEIGHTS = AvailabilityReport(
    "faster-whisper", "small", "cpu", "speech_to_text", 0, False, "weights of small are not in the model store", None
)


def prepare(database: Database, *workspaces: str, tiers: dict[str, int] | None = None) -> None:
    """Workspaces, and a worker that can run the embedded engines."""
    with database.session() as session:
        for workspace in workspaces:
            session.merge(Workspace(id=workspace, name=workspace, tier=(tiers or {}).get(workspace, 0)))
        report(session, worker="test", rows=[WHISPER_WITHOUT_WEIGHTS, POCKETSPHINX, ESPEAK])


def audio(count: int, *, size_bytes: int = 1000, name: str = "a") -> list[NewJob]:
    """So many recordings, each of its own key."""
    batch = uuid.uuid4().hex
    return [
        NewJob("transcribe", {}, InputObject(f"uploads/{batch}/{index}", "v1", size_bytes, f"{name}-{index}.wav"))
        for index in range(count)
    ]


def order(
    database: Database, settings: Settings, workspace: str, jobs: Sequence[NewJob], *, key: str | None = None
) -> Submitted:
    """Submit in a transaction of its own."""
    with database.session() as session:
        return submit(
            session,
            workspace_id=workspace,
            source="api",
            idempotency_key=key or uuid.uuid4().hex,
            jobs=jobs,
            settings=settings,
        )


def result(item: ClaimedItem, claim: Claim) -> ItemResult:
    """A plausible result of an item."""
    return ItemResult(
        artifact=ArtifactRecord(f"artifact-{item.id}", f"artifacts/{item.id}", "0" * 64, 5),
        outputs=(OutputRecord("transcript.txt", f"outputs/{item.id}/{claim.fencing}", "text/plain", 3, "1" * 64),),
        recording_sha256="2" * 64,
        recording_seconds=1.0,
        audio_seconds=1.0,
        processing_seconds=0.5,
    )


def rested(database: Database) -> None:
    """The rests of all lanes and items are over."""
    with database.session() as session:
        session.execute(text("UPDATE lane_pauses SET until = clock_timestamp() - interval '1 second'"))
        session.execute(text("UPDATE work_items SET available_at = NULL"))


def wipe(database: Database) -> None:
    """An empty database, as a module's first test finds it."""
    with database.session() as session:
        session.execute(
            text(
                "TRUNCATE workspaces, api_keys, uploads, recordings, submissions, jobs, job_events, batches, "
                "job_inputs, revisions, work_items, artifacts, outputs, inbox_entries, engine_availability, turns, "
                "lane_pauses, sweeps, workspace_usage, usage_changes, engine_speeds, workspace_speeds"
            )
        )
