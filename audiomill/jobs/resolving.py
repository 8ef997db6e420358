"""What an order comes to, from what is known: plans with engines frozen, limits kept, the rows. Asks nobody."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiomill.catalogue.capabilities import capability, validated
from audiomill.catalogue.capability import Capability
from audiomill.catalogue.parameters import Parameters
from audiomill.catalogue.plan import InputKind, Plan, Role, Step
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

_WORDS: dict[InputKind, str] = {"audio": "a recording", "text": "a text"}


@dataclass(frozen=True)
class Frozen:
    """What a recipe comes to here and now. `choices`: the engine of each step of the plan."""

    capability: Capability
    parameters: Parameters
    plan: Plan
    choices: tuple[EngineChoice, ...]


@dataclass(frozen=True)
class Resolved:
    """A job that is ordered, with nothing left open. `inputs`: in the order of their roles, and as given within one."""

    new: NewJob
    frozen: Frozen
    inputs: tuple[tuple[Role, InputObject], ...]


def tasks_of(jobs: Sequence[NewJob]) -> list[Task]:
    """The tasks of which engines must be known; a recipe that there is not is refused later, with its name."""
    known = {RECIPES[new.recipe].capability for new in jobs if new.recipe in RECIPES}
    tasks = {STAGES[stage].task for name in known for stage in capability(name).stages}
    return sorted(task for task in tasks if task is not None)


def resolved(jobs: Sequence[NewJob], engines: Sequence[EngineView], settings: Settings) -> list[Resolved]:
    """Raises BadRequest, LimitExceeded, EngineUnavailable."""
    known: dict[tuple[object, ...], Frozen] = {}
    canonical = canonical_parameters(jobs)
    orders = []
    for new in jobs:
        for _, given in new.inputs:
            if given.size_bytes > settings.limits.max_bytes:
                raise recording_too_large(given.filename, given.size_bytes, settings)
        ordered = capability(recipe(new.recipe).capability)
        inputs = tuple(
            sorted(
                ((ordered.role(role), given) for role, given in new.inputs),
                key=lambda each: ordered.roles.index(each[0]),
            )
        )
        roles = Counter(role.name for role, _ in inputs)
        cache_key = (new.recipe, canonical[id(new.parameters)], *sorted(roles.items()))
        if cache_key not in known:
            known[cache_key] = frozen(engines, new.recipe, new.parameters, roles)
        for role, given in inputs:
            _refuse_wrong_kind(new.recipe, role, given)
        _check_speech(inputs[0][1], known[cache_key].parameters, settings)
        orders.append(Resolved(new, known[cache_key], inputs))
    return orders


def frozen(
    engines: Sequence[EngineView], recipe_name: str, given: dict[str, Any], roles: Mapping[str, int] | None = None
) -> Frozen:
    """What a recipe comes to with these engines, for so many inputs of each role; None: of each role that must be.

    Raises BadRequest (unknown recipe, bad parameter, inputs), EngineUnavailable.
    """
    base = recipe(recipe_name)
    ordered = capability(base.capability)
    parameters = validated(base.capability, {**base.parameters, **given})
    if roles is None:
        roles = {role.name: 1 for role in ordered.roles if role.required}
    plan = ordered.planned(parameters, roles)
    choices = tuple(choice_of(engines, task=STAGES[step.stage].task, asked=step) for step in plan.steps)
    steps = tuple(_with_engine(step, choice) for step, choice in zip(plan.steps, choices, strict=True))
    plan = replace(plan, steps=steps)
    if len(choices) == 1:
        # The order's own words for its engine are this step's. With several steps the plan says whose is which.
        parameters = parameters.model_copy(update={"engine": choices[0].engine, "model": choices[0].model})
    return Frozen(ordered, parameters, plan, choices)


def _with_engine(step: Step, choice: EngineChoice) -> Step:
    named = {"engine": choice.engine, "model": choice.model}
    options = {name: named.get(name, value) for name, value in step.options.items()}
    return replace(step, options=options, engine=choice.engine, model=choice.model)


def _refuse_wrong_kind(recipe_name: str, role: Role, given: InputObject) -> None:
    if given.kind is None or given.kind == role.kind:
        return
    raise BadRequest(
        f"The recipe {recipe_name!r} takes {_WORDS[role.kind]} as {role.name!r}, and {given.filename!r} is "
        f"{_WORDS[given.kind]}. Send {_WORDS[role.kind]}, give the file its own role, or order another recipe.",
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
        (given.key, given.version): {
            "id": new_id("rec"),
            "object_key": given.key,
            "object_version": given.version,
            "size_bytes": given.size_bytes,
            "sha256": given.sha256,
        }
        for new in jobs
        for _, given in new.inputs
    }
    return [rows[key] for key in sorted(rows)]


@dataclass(frozen=True)
class Rows:
    """What an order writes. Inputs have their object for a recording; jobs and items say by `plan` whose they are.

    plans: each once, however many jobs share it, with the parameters that it was made of.
    """

    plans: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    items: list[dict[str, Any]]


def rows_of(orders: Sequence[Resolved], workspace_id: str, tier: int, speeds: Speeds) -> Rows:
    """The rows of the jobs, in the order of the inputs."""
    rows = Rows([], [], [], [])
    numbers: dict[int, int] = {}
    for position, order in enumerate(orders):
        decided = order.frozen
        number = numbers.setdefault(id(decided), len(numbers))
        if number == len(rows.plans):
            rows.plans.append(
                {
                    "plan": number,
                    "parameters": decided.parameters.model_dump(mode="json"),
                    "steps": decided.plan.to_json(),
                }
            )
        job_id, first = new_id("job"), decided.plan.steps[0]
        rows.jobs.append(
            {
                "id": job_id,
                "position": position,
                "plan": number,
                "filename": order.inputs[0][1].filename,
                "recipe": order.new.recipe,
                "capability": decided.capability.name,
                "stage": first.stage,
                "step": first.name,
            }
        )
        rows.inputs.extend(_inputs_of(job_id, order))
        rows.items.extend(_items_of(job_id, order, number, workspace_id, tier, speeds))
    return rows


def _inputs_of(job_id: str, order: Resolved) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    rows = []
    for place, (role, given) in enumerate(order.inputs):
        rows.append(
            {
                "job_id": job_id,
                "role": role.name,
                "position": counts[role.name],
                "first": place == 0,
                "object_key": given.key,
                "object_version": given.version,
                "filename": given.filename,
            }
        )
        counts[role.name] += 1
    return rows


def _items_of(
    job_id: str, order: Resolved, number: int, workspace_id: str, tier: int, speeds: Speeds
) -> list[dict[str, Any]]:
    """A row for each step. Until what a step reads is there, it is taken to be as long as the job's first input."""
    lengths = [
        estimated_seconds(
            filename=given.filename, size_bytes=given.size_bytes, characters=given.characters, kind=role.kind
        )
        for role, given in order.inputs
    ]
    steps, choices = order.frozen.plan.steps, order.frozen.choices
    # Ascending in the order of the plan: a step's readers are locked after it (jobs/advance.py).
    ids = sorted(new_id("item") for _ in steps)
    rows = []
    for place, (item_id, step, choice) in enumerate(zip(ids, steps, choices, strict=True)):
        read = [length for (role, _), length in zip(order.inputs, lengths, strict=True) if role.name in step.roles]
        rows.append(
            {
                "id": item_id,
                "job_id": job_id,
                "workspace_id": workspace_id,
                "plan": number,
                "place": place,
                "step": step.name,
                "stage": step.stage,
                "state": "waiting" if step.waits_for else "queued",
                "waits_for": len(step.waits_for),
                "optional": step.optional,
                "delivers": step.delivers,
                "weight": step.weight,
                "engine": choice.engine,
                "model": choice.model,
                "resource_class": choice.resource_class,
                "tier": tier,
                **in_lane(step.stage, choice, tier, max(read or lengths[:1]), speeds),
            }
        )
    return rows


def in_lane(stage: str, choice: EngineChoice, tier: int, seconds: float, speeds: Speeds) -> dict[str, Any]:
    """Where an item of so many seconds of sound, in or out, waits, and what it will take."""
    expected_seconds = speeds.expected_seconds(
        seconds, engine=choice.engine, model=choice.model, resource_class=choice.resource_class
    )
    length = length_class(expected_seconds)
    return {
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
