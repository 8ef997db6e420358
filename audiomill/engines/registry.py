"""From a catalogue entry to its engine, and what can run on this machine. The one place that imports engines by name,
and the entries that an installation adds.

Not for the API: it knows engines by what workers reported (audiomill/jobs/availability.py).
"""

from importlib import import_module
from inspect import getattr_static
from typing import cast

from audiomill.catalogue.engines import ENGINES, AvailabilityReport, EngineEntry
from audiomill.catalogue.stages import BUILT_IN, Task
from audiomill.engines.cores import CoreBudget
from audiomill.engines.protocol import Availability, Engine, EngineFactory
from audiomill.errors import ConfigurationError, EngineUnavailable
from audiomill.settings import Settings

_BUILT_IN = EngineEntry(
    BUILT_IN,
    cast("Task", BUILT_IN),  # of no task, so that nobody who looks for one finds it
    "audiomill.engines.built_in:BuiltIn",
    ("cpu",),
    "",
    "What a stage does by itself",
)


def core_budget(settings: Settings) -> CoreBudget:
    """The cores of this machine, shared by every process with these settings."""
    return CoreBudget(settings.data_dir / "run" / "cores", settings.cpu.cores)


def entries(settings: Settings) -> tuple[EngineEntry, ...]:
    """The catalogue with the installation's own entries (`module:ENTRY`) in front. Raises ConfigurationError."""
    own: list[EngineEntry] = []
    for path in settings.engines.extra:
        module, _, name = path.partition(":")
        try:
            entry = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"The engine entry {path!r} cannot be imported: {error}.") from error
        if not isinstance(entry, EngineEntry):
            raise ConfigurationError(f"The engine entry {path!r} is not an EngineEntry.")
        own.append(entry)
    return (*own, *ENGINES)


def entry_named(name: str, settings: Settings) -> EngineEntry:
    """The catalogue entry of that name, or what stands for it where a stage needs none. Raises EngineUnavailable."""
    if name == BUILT_IN:
        return _BUILT_IN
    known = entries(settings)
    for entry in known:
        if entry.name == name:
            return entry
    raise EngineUnavailable(
        f"There is no engine {name!r}. There are: {', '.join(entry.name for entry in known)}.", code="unknown_engine"
    )


def licence_refusal(entry: EngineEntry, settings: Settings) -> str | None:
    """Why the engine may not be used here, or None: what forbids commercial use must be accepted by the operator."""
    if entry.commercial_use or entry.licence in settings.engines.accepted_licences:
        return None
    return (
        f"its licence {entry.licence!r} forbids commercial use; the operator accepts it by "
        f"AUDIOMILL_ENGINES__ACCEPTED_LICENCES='[\"{entry.licence}\"]'"
    )


def build(entry: EngineEntry, settings: Settings) -> Engine:
    """The engine of an entry, nothing loaded yet.

    Raises EngineUnavailable (`licence_not_accepted`), ConfigurationError when its code cannot be imported.
    """
    if (refusal := licence_refusal(entry, settings)) is not None:
        raise EngineUnavailable(f"{entry.name} may not run here: {refusal}.", code="licence_not_accepted")
    module, _, name = entry.implementation.partition(":")
    try:
        factory: EngineFactory = getattr(import_module(module), name)
        asked = _asked_of(entry.task)
    except (ImportError, AttributeError, OSError) as error:
        # OSError: a shared library that a package brings cannot be loaded.
        raise ConfigurationError(f"The code of the engine {entry.name!r} cannot be imported: {error}.") from error
    engine = factory(model_store=settings.model_store_dir, budget=core_budget(settings))
    # Not isinstance: that would read the properties, which speak of the loaded model, and none is loaded.
    if lacking := [name for name in asked if getattr_static(engine, name, None) is None]:
        task = entry.task.replace("_", " ")
        raise ConfigurationError(f"{entry.implementation!r} is no engine of {task}: it lacks {', '.join(lacking)}.")
    return engine


def _asked_of(task: str) -> list[str]:
    """What an engine of a task has to have: what all have, then what the protocol in the task's folder adds."""
    protocol: type = Engine
    if task != BUILT_IN:
        names = vars(import_module(f"audiomill.engines.{task}.protocol")).values()
        protocol = next(one for one in names if isinstance(one, type) and Engine in one.__mro__[1:])
    own = [vars(base) for base in reversed(protocol.__mro__)]
    asked = [name for names in own for name in (*names.get("__annotations__", ()), *names)]
    return [name for name in dict.fromkeys(asked) if not name.startswith("_")]


def available(settings: Settings) -> list[AvailabilityReport]:
    """What each engine of the catalogue can do here, best first within a task.

    One broken engine does not hide the others: it is reported as unavailable, with the reason. Raises
    ConfigurationError only for an entry in the settings that cannot be imported.
    """
    rows: list[AvailabilityReport] = []
    seen: dict[Task, int] = {}
    for entry in entries(settings):
        preference = seen.get(entry.task, 0)
        seen[entry.task] = preference + 1
        found, fault = _availability(entry, settings)
        rows += [
            AvailabilityReport(
                engine=entry.name,
                model=row.model,
                resource_class=row.resource_class,
                task=entry.task,
                preference=preference,
                available=row.available,
                lacks=row.lacks,
                languages=row.languages,
                licence=entry.licence,
                features=entry.features,
                default_model=row.model == entry.default_models.get(row.resource_class),
                fault=fault,
            )
            for row in found
        ]
    return rows


def _availability(entry: EngineEntry, settings: Settings) -> tuple[list[Availability], str | None]:
    """What the engine says, and what broke. An error's own words name files and modules: they are not for customers."""
    fault = None
    if (reason := licence_refusal(entry, settings)) is None:
        try:
            return build(entry, settings).availability(), None
        except ConfigurationError as error:
            reason, fault = "its code cannot be loaded", str(error)
        except Exception as error:  # noqa: BLE001 - somebody's engine: the others must still be reported
            reason, fault = "it broke when asked what it can do", f"{type(error).__name__}: {error}"
    return [
        Availability(entry.default_models.get(resource_class), resource_class, False, reason, None)
        for resource_class in entry.resource_classes
    ], fault
