"""What an engine's entry says, and what a worker says of an engine. Data only."""

from dataclasses import dataclass, field

from audiomill.catalogue.parameters import Feature
from audiomill.catalogue.stages import ResourceClass, Task


@dataclass(frozen=True)
class EngineEntry:
    """One engine.

    implementation: import path `module:Class`, loaded by audiomill.engines.registry only.
    resource_classes: where it can run, best first.
    licence: SPDX identifier, or the name of the licence; of the weights where theirs is the stricter one.
    default_models: the model that `auto` and `model=None` mean, by resource class; None: the engine has no choice.
    commercial_use: whether the licence allows it. If not, the engine runs only where the settings accept that licence.
    """

    name: str
    task: Task
    implementation: str
    resource_classes: tuple[ResourceClass, ...]
    licence: str
    summary: str
    default_models: dict[ResourceClass, str] = field(default_factory=dict)
    features: tuple[Feature, ...] = ()
    commercial_use: bool = True


@dataclass(frozen=True)
class AvailabilityReport:
    """What a worker says of one model of one engine on one resource class: all that orders and the API know of engines.

    preference: 0 is the best of its task on that worker. languages: None means any. lacks: a sentence for customers.
    fault: what broke, in an error's own words: for the worker's operator and its log, never stored or shown elsewhere.
    """

    engine: str
    model: str | None
    resource_class: str
    task: str
    preference: int
    available: bool
    lacks: str | None
    languages: tuple[str, ...] | None
    licence: str = ""
    features: tuple[str, ...] = ()
    default_model: bool = True
    fault: str | None = None
