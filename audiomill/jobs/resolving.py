"""What an order comes to, from what is known: engines frozen, limits kept, the rows that are written. Asks nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audiomill.catalogue.capabilities import capability, validated
from audiomill.catalogue.capability import Capability
from audiomill.catalogue.parameters import Parameters
from audiomill.catalogue.recipes import RECIPES, recipe
from audiomill.catalogue.speaking import speech_too_long
from audiomill.catalogue.stages import STAGES, Task
from audiomill.errors import BadRequest
from audiomill.jobs.availability import EngineChoice, EngineView, choice_of
from audiomill.jobs.batches.lanes import estimated_seconds, lane_of, length_class
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.orders import InputObject, NewJob, canonical_parameters, recording_too_large
from audiomill.jobs.speeds import Speeds
from audiomill.settings import Settings


@dataclass(frozen=True)
class Resolved:
    """A job that is ordered, with nothing left open."""

    new: NewJob
    capability: Capability
    parameters: Parameters
    choice: EngineChoice


def tasks_of(jobs: Sequence[NewJob]) -> list[Task]:
    """The tasks of which engines must be known; a recipe that there is not is refused later, with its name."""
    known = {RECIPES[new.recipe].capability for new in jobs if new.recipe in RECIPES}
    return sorted({_first_task(capability(name)) for name in known})


def resolved(jobs: Sequence[NewJob], engines: Sequence[EngineView], settings: Settings) -> list[Resolved]:
    """Raises BadRequest, LimitExceeded, EngineUnavailable."""
    known: dict[tuple[str, bytes], tuple[Capability, Parameters, EngineChoice]] = {}
    canonical = canonical_parameters(jobs)
    orders = []
    for new in jobs:
        if new.input.size_bytes > settings.limits.max_bytes:
            raise recording_too_large(new.input.filename, new.input.size_bytes, settings)
        cache_key = (new.recipe, canonical[id(new.parameters)])
        if cache_key not in known:
            known[cache_key] = frozen(engines, new.recipe, new.parameters)
        _refuse_wrong_kind(new, known[cache_key][0])
        _check_speech(new.input, known[cache_key][1], settings)
        orders.append(Resolved(new, *known[cache_key]))
    return orders


def frozen(
    engines: Sequence[EngineView], recipe_name: str, given: dict[str, Any]
) -> tuple[Capability, Parameters, EngineChoice]:
    """What a recipe comes to with these engines: its capability, its parameters with the engine frozen, that engine.

    Raises BadRequest (unknown recipe, bad parameter), EngineUnavailable.
    """
    base = recipe(recipe_name)
    ordered = capability(base.capability)
    parameters = validated(base.capability, {**base.parameters, **given})
    choice = choice_of(engines, task=_first_task(ordered), parameters=parameters)
    return ordered, parameters.model_copy(update={"engine": choice.engine, "model": choice.model}), choice


def _first_task(ordered: Capability) -> Task:
    return STAGES[ordered.stages[0]].task


def _refuse_wrong_kind(new: NewJob, ordered: Capability) -> None:
    if new.input.kind in {None, ordered.input_kind}:
        return
    names = {"audio": "a recording", "text": "a text"}
    raise BadRequest(
        f"The recipe {new.recipe!r} takes {names[ordered.input_kind]}, and {new.input.filename!r} is "
        f"{names[str(new.input.kind)]}. Order it without that input, or by another recipe.",
        code="wrong_kind_of_input",
    )


def _check_speech(given: InputObject, parameters: Parameters, settings: Settings) -> None:
    """Raises LimitExceeded for a text whose speech would be too long."""
    longest = settings.limits.max_seconds
    if given.least_spoken_seconds is not None and parameters.least_sound_seconds(given.least_spoken_seconds) > longest:
        raise speech_too_long(longest)


def recordings_of(jobs: Sequence[NewJob]) -> list[dict[str, Any]]:
    """The row of each object once, in the order in which rows are locked."""
    rows = {
        (new.input.key, new.input.version): {
            "id": new_id("rec"),
            "object_key": new.input.key,
            "object_version": new.input.version,
            "size_bytes": new.input.size_bytes,
            "sha256": new.input.sha256,
        }
        for new in jobs
    }
    return [rows[key] for key in sorted(rows)]


def jobs_of(
    orders: Sequence[Resolved], workspace_id: str, tier: int, speeds: Speeds
) -> tuple[list[dict[str, Any]], ...]:
    """The rows of the jobs, in the order of the inputs and with their object for a recording; and of their items."""
    jobs, items = [], []
    for position, order in enumerate(orders):
        job_id, stage, given = new_id("job"), order.capability.stages[0], order.new.input
        jobs.append(
            {
                "id": job_id,
                "position": position,
                "object_key": given.key,
                "object_version": given.version,
                "filename": given.filename,
                "recipe": order.new.recipe,
                "capability": order.capability.name,
                "parameters": order.parameters.model_dump(mode="json"),
                "stage": stage,
            }
        )
        seconds = estimated_seconds(
            filename=given.filename,
            size_bytes=given.size_bytes,
            characters=given.characters,
            kind=order.capability.input_kind,
        )
        items.append(new_item(job_id, workspace_id, stage, order.choice, tier, seconds, speeds))
    return jobs, items


def new_item(
    job_id: str, workspace_id: str, stage: str, choice: EngineChoice, tier: int, seconds: float, speeds: Speeds
) -> dict[str, Any]:
    """The row of a work item that waits in its lane. `seconds`: of sound, in or out."""
    expected_seconds = speeds.expected_seconds(
        seconds, engine=choice.engine, model=choice.model, resource_class=choice.resource_class
    )
    length = length_class(expected_seconds)
    return {
        "id": new_id("item"),
        "job_id": job_id,
        "workspace_id": workspace_id,
        "stage": stage,
        "engine": choice.engine,
        "model": choice.model,
        "resource_class": choice.resource_class,
        "tier": tier,
        "length_class": length,
        "lane": lane_of(
            stage=stage,
            engine=choice.engine,
            model=choice.model,
            resource_class=choice.resource_class,
            tier=tier,
            length=length,
        ),
        "audio_seconds": seconds,
        "expected_seconds": expected_seconds,
    }
