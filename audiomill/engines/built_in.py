"""What stands in an engine's place where a stage needs none: mixing, fitting and muxing are the stage's own work.

No weights, no package, always there: no worker reports it, and nobody orders it by name.
"""

import math
from pathlib import Path

from audiomill import __version__
from audiomill.catalogue.stages import BUILT_IN, ResourceClass
from audiomill.engines.cores import CoreBudget
from audiomill.engines.protocol import Availability, EngineIdentity, Usage


class BuiltIn:
    """An engine that does nothing, under the product's name and version."""

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:
        """Neither is used."""

    def availability(self) -> list[Availability]:
        """Everywhere."""
        return [Availability(None, "cpu", available=True, lacks=None, languages=None)]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Nothing to load."""

    @property
    def identity(self) -> EngineIdentity:
        """Of the product."""
        return EngineIdentity(BUILT_IN, __version__, None, None)

    @property
    def usage(self) -> Usage:
        """One thing at a time."""
        return Usage(group_items=1, group_seconds=math.inf, parallel_calls=1)

    def close(self) -> None:
        """Nothing to free."""
