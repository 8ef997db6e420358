"""Thin Dagster ConfigurableResources that return audiomill objects. No logic.

`resource.get()` builds the object on first use and keeps it for the life of the process: Dagster sets resources up
again for every sensor tick, and a pool of connections per tick would cost more than the tick.
"""

from resources.database import DatabaseResource
from resources.engines import EnginesResource
from resources.partition_keys import PartitionKeyIOManager
from resources.settings import SettingsResource
from resources.store import StoreResource

__all__ = ["DatabaseResource", "EnginesResource", "PartitionKeyIOManager", "SettingsResource", "StoreResource"]
