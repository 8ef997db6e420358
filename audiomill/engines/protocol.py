"""What every engine is, whatever its task. Lists in, lists out, so that batching is the normal case.

The protocol of a task is in its folder (audiomill/engines/<task>/protocol.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.cores import CoreBudget

Progress = Callable[[int, float], None]
"""Called with (index in the list, share done 0 to 1) while an item is worked on; cheap, may be called often."""


@dataclass(frozen=True)
class Availability:
    """Whether one model of an engine can run here. `lacks` names what is missing: weights, package, GPU, key."""

    model: str | None
    resource_class: ResourceClass
    available: bool
    lacks: str | None
    languages: tuple[str, ...] | None
    """BCP 47 tags, lower case; of an engine that translates between pairs, those (`en>es`); None: any language."""


@dataclass(frozen=True)
class EngineIdentity:
    """What made an output, for receipts and artifact keys: engine, its version, the model and its SHA-256.

    seed: what its random numbers start from; None: it draws none. languages: BCP 47 tags, lower case; None: any.
    """

    engine: str
    version: str
    model: str | None
    model_sha256: str | None
    seed: int | None = None
    languages: tuple[str, ...] | None = None

    @property
    def only_language(self) -> str | None:
        """The language of an engine that knows one only, whatever its accents: it takes all that it hears for it."""
        known = {tag.split("-")[0] for tag in self.languages or ()}
        return known.pop() if len(known) == 1 else None


@dataclass(frozen=True)
class Usage:
    """How a loaded engine uses the machine.

    group_items, group_seconds: what one call takes at most. parallel_calls: calls that may run at the same time,
    from threads of one process.
    """

    group_items: int
    group_seconds: float
    parallel_calls: int


@runtime_checkable
class Engine(Protocol):
    """Common to all tasks. Constructed cheaply; `load` brings the model into memory, `close` lets it go."""

    def availability(self) -> list[Availability]:
        """One row per model and resource class that this engine knows of here. Never raises."""
        ...

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Load a model. Raises EngineUnavailable that names what is missing."""
        ...

    @property
    def identity(self) -> EngineIdentity:
        """Of the loaded model."""
        ...

    @property
    def usage(self) -> Usage:
        """Of the loaded model."""
        ...

    def close(self) -> None:
        """Free what `load` took. Harmless when nothing is loaded."""
        ...


class EngineFactory(Protocol):
    """How the registry builds an engine: `Class(model_store=…, budget=…)`.

    model_store: folder of weights. budget: the cores of this machine; an engine takes from it while it computes on the
    CPU (`with budget.take(n):`), and `budget.cores` is all there are.
    """

    def __call__(self, *, model_store: Path, budget: CoreBudget) -> Engine:
        """Build, without loading anything."""
        ...
