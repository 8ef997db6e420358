"""What a capability is. Each has a file of its own; capabilities.py lists them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from audiomill.catalogue.parameters import Parameters
from audiomill.catalogue.plan import SOURCE, InputKind, Plan, Role, Step, read_of
from audiomill.errors import BadRequest

RECORDING = (Role(SOURCE, "audio"),)
"""The roles of a capability that takes one recording."""

TEXT = (Role(SOURCE, "text"),)
"""The roles of a capability that takes one text."""

_WORDS = {"audio": "a recording", "text": "a text"}

Planner = Callable[[Any, Mapping[str, int]], Plan]
"""(the parameters, of the capability's own type; how many files each role has) → the plan. Pure."""


@dataclass(frozen=True)
class Recipe:
    """A named order: capability and the parameters that differ from its defaults."""

    name: str
    capability: str
    summary: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Capability:
    """One thing that can be ordered.

    roles: what its inputs may be to it; the first is meant where an order names none.
    stages: those that its plans are made of.
    recipes: the system's own; each name is used once among all capabilities.
    plan: what is done for given parameters and inputs; None: one step of its one stage, which reads its first input.
    """

    name: str
    summary: str
    parameters: type[Parameters]
    roles: tuple[Role, ...]
    stages: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    plan: Planner | None = None

    @property
    def input_kind(self) -> InputKind:
        """What its first input is."""
        return self.roles[0].kind

    def role(self, name: str | None) -> Role:
        """The role of that name, or the first one. Raises BadRequest."""
        if name is None:
            return self.roles[0]
        for role in self.roles:
            if role.name == name:
                return role
        raise BadRequest(f"{self.name} has no input {name!r}. {self._takes()}", code="unknown_role")

    def planned(self, parameters: Parameters, roles: Mapping[str, int]) -> Plan:
        """What is done for these parameters and so many files of each role. Raises BadRequest (inputs)."""
        for name in roles:
            self.role(name)
        for role in self.roles:
            count = roles.get(role.name, 0)
            if role.required and not count:
                raise BadRequest(f"{self.name} needs an input {role.name!r}. {self._takes()}", code="missing_role")
            if count > 1 and not role.many:
                raise BadRequest(
                    f"{self.name} takes one input {role.name!r}, and the order has {count}. {self._takes()}",
                    code="too_many_of_role",
                )
        plan = (
            single_stage(self.stages[0], parameters, role=self.roles[0].name)
            if self.plan is None
            else self.plan(parameters, roles)
        )
        if foreign := {step.stage for step in plan.steps} - set(self.stages):
            raise ValueError(f"A plan of {self.name} has steps of {foreign}, which it does not name.")
        if absent := plan.roles - {name for name, count in roles.items() if count}:
            raise ValueError(f"A plan of {self.name} reads {absent}, which the order does not have.")
        return plan

    def _takes(self) -> str:
        said = [
            f"{role.name} ({_WORDS[role.kind]}{', or several' if role.many else ''}"
            f"{'' if role.required else ', if you like'})"
            for role in self.roles
        ]
        return f"It takes: {', '.join(said)}."


def single_stage(stage: str, parameters: Parameters, *, role: str = SOURCE) -> Plan:
    """The plan of one step that reads one input, and whose options are the order's parameters."""
    return Plan(
        (
            Step(
                stage,
                stage,
                parameters.model_dump(mode="json"),
                (read_of(role),),
                engine=parameters.engine,
                model=parameters.model,
                language=parameters.wanted_language(),
                features=parameters.wanted_features(),
            ),
        )
    )
