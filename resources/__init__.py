"""Thin Dagster ConfigurableResources that return audiomill objects. No logic.

Beside them, not exported here, what Dagster's own processes are started with: `webserver`.

`resource.get()` builds the object on first use and keeps it for the life of the process: Dagster sets resources up
again for every sensor tick, and a pool of connections per tick would cost more than the tick.

Each is imported when its name is asked for: Dagster's daemon and webserver load `resources.dagster_storage` alone, and
the engines' libraries would be 40 MB and a second for nothing in each of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.database import DatabaseResource
    from resources.engines import EnginesResource
    from resources.partition_keys import PartitionKeyIOManager
    from resources.settings import SettingsResource
    from resources.store import StoreResource

__all__ = ["DatabaseResource", "EnginesResource", "PartitionKeyIOManager", "SettingsResource", "StoreResource"]

_MODULES = {
    "DatabaseResource": "resources.database",
    "EnginesResource": "resources.engines",
    "PartitionKeyIOManager": "resources.partition_keys",
    "SettingsResource": "resources.settings",
    "StoreResource": "resources.store",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
