"""What a capability is. Each has a file of its own; capabilities.py lists them."""

from dataclasses import dataclass
from typing import Literal

from audiomill.catalogue.parameters import Parameters


@dataclass(frozen=True)
class Capability:
    """One thing that can be ordered. `stages` are worked off in order; each is a work item of its own."""

    name: str
    summary: str
    input_kind: Literal["audio", "text"]
    parameters: type[Parameters]
    stages: tuple[str, ...]
