"""What a capability is. Each has a file of its own; capabilities.py lists them."""

from dataclasses import dataclass, field
from typing import Any, Literal

from audiomill.catalogue.parameters import Parameters


@dataclass(frozen=True)
class Recipe:
    """A named order: capability and the parameters that differ from its defaults."""

    name: str
    capability: str
    summary: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Capability:
    """One thing that can be ordered. `stages` are worked off in order; each is a work item of its own.

    recipes: the system's own; each name is used once among all capabilities.
    """

    name: str
    summary: str
    input_kind: Literal["audio", "text"]
    parameters: type[Parameters]
    stages: tuple[str, ...]
    recipes: tuple[Recipe, ...]
