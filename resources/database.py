"""audiomill's database as a resource. Dagster's own storages are not reached through it."""

import atexit
from threading import Lock

from dagster import ConfigurableResource, ResourceDependency

from audiomill.database.connection import Database
from audiomill.settings import Settings
from resources.settings import SettingsResource

_open: dict[str, Database] = {}
_lock = Lock()


class DatabaseResource(ConfigurableResource[Database]):
    """audiomill's database; starts the embedded server if that is the one."""

    settings: ResourceDependency[SettingsResource]

    def get(self) -> Database:
        """The Database of this process, its pool shared by all ticks and ops. Raises ConfigurationError."""
        settings = self.settings.get()
        key = f"{settings.data_dir}\n{settings.database.url}"
        with _lock:
            if key not in _open:
                _open[key] = _opened(settings)
            return _open[key]


def _opened(settings: Settings) -> Database:
    database = Database.from_settings(settings)
    # A server process leaves by sys.exit; a pool that is not disposed would warn about its open sockets.
    atexit.register(database.dispose)
    return database


def dispose_databases() -> None:
    """Close every pool that this process opened: before the embedded server is stopped."""
    with _lock:
        while _open:
            _, database = _open.popitem()
            database.dispose()
            atexit.unregister(database.dispose)
