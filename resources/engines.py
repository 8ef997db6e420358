"""The engines as a resource: what can run here, and models loaded for as long as somebody uses them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from threading import Lock

from dagster import ConfigurableResource, ResourceDependency

from audiomill.catalogue.engines import AvailabilityReport
from audiomill.catalogue.stages import ResourceClass
from audiomill.database.connection import Database
from audiomill.engines import registry
from audiomill.engines.lifetime import Models
from audiomill.engines.protocol import Engine
from audiomill.jobs.availability import report_when_due
from resources.settings import SettingsResource

_models: dict[str, Models] = {}
_lock = Lock()


class EnginesResource(ConfigurableResource[Models]):
    """audiomill's engines. Their code is imported when one is asked for, not when the definitions are loaded."""

    settings: ResourceDependency[SettingsResource]

    def get(self) -> Models:
        """The loaded models of this process."""
        settings = self.settings.get()
        with _lock:
            return _models.setdefault(settings.model_dump_json(), Models(settings))

    def use(self, name: str, model: str | None, resource_class: ResourceClass) -> AbstractContextManager[Engine]:
        """An engine with its model loaded while the block lasts. Raises EngineUnavailable, ConfigurationError."""
        return self.get().use(registry.entry_named(name, self.settings.get()), model, resource_class)

    def report(self, database: Database, *, older_than_seconds: float = 0.0) -> Sequence[AvailabilityReport] | None:
        """Tell the database what each engine of the catalogue can do on this machine; None where it was told lately.

        Raises ConfigurationError.
        """
        settings = self.settings.get()
        return report_when_due(
            database, settings, lambda: registry.available(settings), older_than_seconds=older_than_seconds
        )
