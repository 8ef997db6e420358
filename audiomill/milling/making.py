"""How a result came about, for receipts: the step that made it, and all steps whose parts it was made from."""

from collections.abc import Sequence
from typing import Any

from audiomill.audio import Flaw
from audiomill.engines.protocol import EngineIdentity
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.reads import StepMade
from audiomill.quality import Check
from audiomill.receipts import CheckPart, EnginePart, InputPart, ReadPart, StepPart


def checks_of(flaws: Sequence[Flaw], checks: Sequence[Check]) -> tuple[CheckPart, ...]:
    """What is wrong with the input, then what was judged of the result."""
    return (
        *(CheckPart(name=flaw.code, passed=False) for flaw in flaws),
        *(CheckPart(name=check.name, passed=check.passed, value=check.value, limit=check.limit) for check in checks),
    )


def details_of(
    item: ClaimedItem,
    identity: EngineIdentity,
    input_sha256: str,
    checks: Sequence[CheckPart],
    *,
    audio_seconds: float,
    processing_seconds: float,
) -> dict[str, Any]:
    """What is kept with an artifact, so that receipts of what is made from it can name its step. No content."""
    return {
        "engine": identity.engine,
        "engine_version": identity.version,
        "model": identity.model,
        "model_sha256": identity.model_sha256,
        "seed": identity.seed,
        "input_sha256": input_sha256,
        "reads": [read.model_dump(mode="json") for read in _reads(item, input_sha256)],
        "checks": [check.model_dump(mode="json") for check in checks],
        "seconds": audio_seconds,
        "processing_seconds": processing_seconds,
    }


def steps_of(item: ClaimedItem, details: dict[str, Any], artifact_sha256: str) -> tuple[StepPart, ...]:
    """The steps before it, as they were noted when they were made, and this one."""
    this = StepMade(item.step, item.stage, item.options, artifact_sha256, details)
    return tuple(_step(made) for made in (*item.made_by, this))


def source_of(item: ClaimedItem, input_sha256: str, seconds: float | None, characters: int | None) -> InputPart:
    """The job's first input. What it was found to be, this step knows where it reads it."""
    first = item.sources[0] if item.sources else None
    if first is None or first.recording_id == item.recording_id or first.sha256 is None:
        kind = item.kind if first is None else first.kind
        return InputPart(
            sha256=input_sha256, size_bytes=item.size_bytes, kind=kind, seconds=seconds, characters=characters
        )
    return InputPart(sha256=first.sha256, size_bytes=first.size_bytes, kind=first.kind)


def _reads(item: ClaimedItem, input_sha256: str) -> list[ReadPart]:
    return [
        ReadPart(name=ref.name, sha256=input_sha256 if place == 0 else ref.sha256)
        for place, ref in enumerate(item.inputs)
    ]


def _step(made: StepMade) -> StepPart:
    details = made.details
    return StepPart(
        name=made.step,
        stage=made.stage,
        engine=EnginePart(
            name=details["engine"],
            version=details["engine_version"],
            model=details["model"],
            model_sha256=details["model_sha256"],
        ),
        options=dict(made.options),
        seed=details["seed"],
        reads=details.get("reads", ()),
        artifact_sha256=made.sha256,
        processing_seconds=details["processing_seconds"],
        checks=details.get("checks", ()),
    )
