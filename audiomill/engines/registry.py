"""From a catalogue entry to its engine, and what can run on this machine. The one place that imports engines by name.

Not for the API: it knows engines by the catalogue and by what workers reported (audiomill/jobs/availability.py).
"""

from dataclasses import dataclass
from importlib import import_module
from inspect import getattr_static
from typing import cast

from audiomill.catalogue.engines import EngineEntry, entries
from audiomill.catalogue.stages import ResourceClass, Task
from audiomill.engines.cores import CoreBudget
from audiomill.engines.protocols import Availability, Engine
from audiomill.errors import ConfigurationError, EngineUnavailable
from audiomill.settings import Settings

_PROTOCOL = ("availability", "load", "identity", "usage", "close")


@dataclass(frozen=True)
class AvailabilityRow:
    """One model of one engine on one resource class, here. `preference` 0 is the best of its task.

    The fields are those that a worker reports.
    """

    engine: str
    model: str | None
    resource_class: ResourceClass
    task: Task
    preference: int
    available: bool
    lacks: str | None
    languages: tuple[str, ...] | None


def core_budget(settings: Settings) -> CoreBudget:
    """The cores of this machine, shared by every process with these settings."""
    return CoreBudget(settings.data_dir / "run" / "cores", settings.cpu.cores)


def entry_named(name: str, settings: Settings) -> EngineEntry:
    """The catalogue entry of that name. Raises EngineUnavailable."""
    known = entries(settings.engines.extra)
    for entry in known:
        if entry.name == name:
            return entry
    raise EngineUnavailable(
        f"There is no engine {name!r}. There are: {', '.join(entry.name for entry in known)}.", code="unknown_engine"
    )


def build(entry: EngineEntry, settings: Settings) -> Engine:
    """The engine of an entry, nothing loaded yet. Raises ConfigurationError when its code cannot be imported."""
    module, _, name = entry.implementation.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, OSError) as error:
        # OSError: a shared library that a package brings cannot be loaded.
        raise ConfigurationError(f"The code of the engine {entry.name!r} cannot be imported: {error}.") from error
    engine = factory(model_store=settings.model_store_dir, budget=core_budget(settings))
    # Not isinstance: that would read the properties, which speak of the loaded model, and none is loaded.
    lacking = [name for name in _PROTOCOL if getattr_static(engine, name, None) is None]
    if lacking:
        raise ConfigurationError(f"{entry.implementation!r} is not an engine: it lacks {', '.join(lacking)}.")
    return cast("Engine", engine)


def available(settings: Settings) -> list[AvailabilityRow]:
    """What each engine of the catalogue can do here, best first within a task.

    One broken engine does not hide the others: it is reported as unavailable, with the reason. Raises
    ConfigurationError only for an entry in the settings that cannot be imported.
    """
    rows: list[AvailabilityRow] = []
    seen: dict[Task, int] = {}
    for entry in entries(settings.engines.extra):
        preference = seen.get(entry.task, 0)
        seen[entry.task] = preference + 1
        rows += [
            AvailabilityRow(
                entry.name,
                row.model,
                row.resource_class,
                entry.task,
                preference,
                row.available,
                row.lacks,
                row.languages,
            )
            for row in _availability(entry, settings)
        ]
    return rows


def _availability(entry: EngineEntry, settings: Settings) -> list[Availability]:
    try:
        return build(entry, settings).availability()
    except ConfigurationError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - somebody's engine: the others must still be reported
        reason = f"it broke when asked what it can do: {type(error).__name__}: {error}"
    return [
        Availability(entry.default_models.get(resource_class), resource_class, False, reason, None)
        for resource_class in entry.resource_classes
    ]
