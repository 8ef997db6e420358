"""The installation that a command speaks of: whether it is there, and under which addresses it runs. No commands."""

from urllib.parse import urlsplit

from audiomill.data_dir import is_used, running_platform
from audiomill.errors import ConfigurationError
from audiomill.settings import Settings, get_settings


def current_settings() -> Settings:
    """The settings, with the addresses of the platform that runs: a demo's, for one, has ports of its own."""
    settings = get_settings()
    running = running_platform(settings.data_dir)
    if running is None:
        return settings
    dagster = urlsplit(running.dagster_url)
    return settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"public_url": running.api_url}),
            "dagster": settings.dagster.model_copy(
                update={"public_url": running.dagster_url, "port": dagster.port or settings.dagster.port}
            ),
        }
    )


def require_installation(settings: Settings) -> None:
    """Raises ConfigurationError where nothing is: a command that looks must not make a database or a key."""
    if not is_used(settings.data_dir):
        raise ConfigurationError(
            f"Nothing is in {settings.data_dir} yet: `audiomill up` makes a platform there. Is yours elsewhere? "
            "AUDIOMILL_DATA_DIR or --data-dir says where.",
            code="no_installation",
        )


def place() -> str:
    """One or two lines: the data directory, and what runs on it."""
    settings = get_settings()
    running = running_platform(settings.data_dir)
    state = (
        f"runs as process {running.pid}: API {running.api_url}, Dagster {running.dagster_url}"
        if running
        else "no platform runs on it"
        if is_used(settings.data_dir)
        else "nothing is there yet"
    )
    return f"Data directory: {settings.data_dir} ({state})"
