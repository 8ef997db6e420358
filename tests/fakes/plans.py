"""Plans of many steps for tests of audiomill.jobs: a capability planted for a test, and runs that work on it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from audiomill.catalogue import capabilities, recipes, stages
from audiomill.catalogue.capability import Capability, Recipe
from audiomill.catalogue.parameters import Parameters
from audiomill.catalogue.plan import Plan, Role, Step
from audiomill.catalogue.stages import Stage
from audiomill.database.connection import Database
from audiomill.jobs.batches import leases, working
from audiomill.jobs.batches.forming import form_batches, mark_requested, startable
from audiomill.jobs.batches.leases import Claim, ClaimedItem
from audiomill.jobs.batches.working import ArtifactRecord, ItemResult, OutputRecord, PartRecord
from audiomill.settings import Settings

FIT = Stage("fit", None, "fits")
"""A stage that needs no engine."""

PLANTED = "planted"
SOURCE = (Role("source", "audio"),)


@contextmanager
def planted(*steps: Step, roles: tuple[Role, ...] = SOURCE) -> Iterator[None]:
    """A capability and recipe `planted` whose plan these steps are, and the stage `fit`."""
    known = ("transcribe", "synthesize", FIT.name)
    capability = Capability(
        PLANTED, "Planted", Parameters, roles, known, (), plan=lambda _parameters, _roles: Plan(steps)
    )
    with (
        patch.dict(capabilities.CAPABILITIES, {PLANTED: capability}),
        patch.dict(recipes.RECIPES, {PLANTED: Recipe(PLANTED, PLANTED, "Planted")}),
        patch.dict(stages.STAGES, {FIT.name: FIT}),
    ):
        yield


def fit(name: str, *reads: str, optional: bool = False, weight: float = 1.0, delivers: bool = False) -> Step:
    """A step that needs no engine; without reads it reads the source."""
    return Step(name, FIT.name, {}, reads or ("input:source",), optional=optional, weight=weight, delivers=delivers)


def made(item: ClaimedItem, *parts: str, seconds: float = 1.0) -> ItemResult:
    """A plausible result of a step, with these parts or as one file."""
    files = {name: PartRecord(f"artifacts/{item.id}/{name}.wav", "3" * 64, 7, "audio/wav") for name in parts}
    return ItemResult(
        artifact=ArtifactRecord(f"artifact-{item.id}", f"artifacts/{item.id}.wav", "0" * 64, 5, parts=files),
        outputs=(OutputRecord(f"{item.step}.txt", f"outputs/{item.id}", "text/plain", 3, "1" * 64),),
        recording_sha256="2" * 64 if item.recording_id is not None else None,
        recording_seconds=None,
        audio_seconds=seconds,
        processing_seconds=0.5,
    )


def runs(database: Database, settings: Settings) -> list[Claim]:
    """All batches that can be formed now, each claimed by a run of its own."""
    with database.session() as session:
        form_batches(session, settings)
        batches = startable(session)
        mark_requested(session, [batch.id for batch in batches])
    claims = []
    for batch in batches:
        with database.session() as session:
            claims.append(
                leases.claim(session, batch_id=batch.id, stage=batch.stage, run_id=f"run-{batch.id}", settings=settings)
            )
    return claims


def steps_of(claims: Sequence[Claim]) -> dict[str, tuple[Claim, ClaimedItem]]:
    """The items of some claims by their step: of one job."""
    return {item.step: (claim, item) for claim in claims for item in claim.items}


def finish(database: Database, claim: Claim, item: ClaimedItem, result: ItemResult | None = None) -> bool:
    """Begin an item and end it well."""
    with database.session() as session:
        working.begin(session, claim, [item.id])
    with database.session() as session:
        return working.complete(session, claim, item.id, made(item) if result is None else result)
