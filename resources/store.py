"""The object store as a resource."""

from functools import lru_cache

from dagster import ConfigurableResource, ResourceDependency

from audiomill.settings import Settings
from audiomill.storage.factory import open_store
from audiomill.storage.store import ObjectStore
from resources.settings import SettingsResource


class StoreResource(ConfigurableResource[ObjectStore]):
    """The object store that the settings name: a local directory or a bucket."""

    settings: ResourceDependency[SettingsResource]

    def get(self) -> ObjectStore:
        """The store of this process. Raises ConfigurationError."""
        settings = self.settings.get()
        return _opened(_Key(settings))


class _Key:
    """Settings as a cache key: they are not hashable, and what they say about the store is."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key = (settings.data_dir, settings.api_url, settings.storage.model_dump_json())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._key == other._key


@lru_cache(maxsize=16)
def _opened(key: _Key) -> ObjectStore:
    return open_store(key.settings)
