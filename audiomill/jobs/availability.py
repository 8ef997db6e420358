"""What workers say that they can run, and the choice of an engine for an order. Engines' code is never loaded here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from audiomill.catalogue.engines import EngineEntry, entries
from audiomill.catalogue.parameters import Parameters, SynthesizeParameters, TranscribeParameters
from audiomill.catalogue.stages import ResourceClass, Task
from audiomill.database.tables import EngineAvailability
from audiomill.errors import EngineUnavailable

STALE = text("heartbeat_at > clock_timestamp() - interval '1 day'")
"""Rows older than this are of workers that are gone. A day: with GPU nodes that scale to zero no worker may live
while orders come in, and their last word still holds."""


@dataclass(frozen=True)
class AvailabilityReport:
    """One row of a worker's word. `preference` 0 is the best of its task; `languages` None: any."""

    engine: str
    model: str | None
    resource_class: str
    task: str
    preference: int
    available: bool
    lacks: str | None
    languages: tuple[str, ...] | None


@dataclass(frozen=True)
class EngineView:
    """One engine and model as customers and operators see it, over all workers."""

    engine: str
    model: str | None
    resource_class: str
    task: str
    preference: int
    available: bool
    lacks: str | None
    languages: tuple[str, ...] | None
    workers: int


@dataclass(frozen=True)
class EngineChoice:
    """What `auto` or a named engine came to, frozen with the job."""

    engine: str
    model: str | None
    resource_class: ResourceClass


def report(session: Session, *, worker: str, rows: Sequence[AvailabilityReport]) -> None:
    """Replace what this worker said before."""
    session.execute(delete(EngineAvailability).where(EngineAvailability.worker == worker))
    if rows:
        session.execute(
            insert(EngineAvailability),
            [
                {
                    "worker": worker,
                    "engine": row.engine,
                    "model": row.model or "",
                    "resource_class": row.resource_class,
                    "task": row.task,
                    "preference": row.preference,
                    "available": row.available,
                    "lacks": row.lacks,
                    "languages": None if row.languages is None else list(row.languages),
                }
                for row in rows
            ],
        )


def table(session: Session) -> list[EngineView]:
    """Every engine and model that any worker spoke of; available if any can run it. Best first within a task."""
    seen: dict[tuple[str, str, str], EngineView] = {}
    rows = session.scalars(
        select(EngineAvailability)
        .where(STALE)
        .order_by(
            EngineAvailability.task,
            EngineAvailability.preference,
            EngineAvailability.resource_class.desc(),
            EngineAvailability.model,
            EngineAvailability.available.desc(),
        )
    )
    for row in rows:
        key = (row.engine, row.model, row.resource_class)
        known = seen.get(key)
        workers = (known.workers if known else 0) + (1 if row.available else 0)
        first = known or EngineView(
            row.engine,
            row.model or None,
            row.resource_class,
            row.task,
            row.preference,
            row.available,
            row.lacks,
            None if row.languages is None else tuple(row.languages),
            0,
        )
        seen[key] = EngineView(**{**first.__dict__, "workers": workers})
    return list(seen.values())


def heartbeat_of(session: Session, worker: str) -> datetime | None:
    """When that worker last spoke."""
    return session.scalar(select(EngineAvailability.heartbeat_at).where(EngineAvailability.worker == worker).limit(1))


def choose(session: Session, *, task: Task, parameters: Parameters, extra: list[str] | None = None) -> EngineChoice:
    """The engine for an order: the named one, or the best that can run here and speaks the language.

    Raises EngineUnavailable that names what each candidate lacks. There is no silent fall to a worse engine: the
    choice is made here, once, and frozen.
    """
    catalogue = {entry.name: entry for entry in entries(extra) if entry.task == task}
    if parameters.engine != "auto" and parameters.engine not in catalogue:
        raise EngineUnavailable(
            f"There is no engine {parameters.engine!r} for this. There are: {', '.join(catalogue)}.",
            code="unknown_engine",
        )
    candidates = [
        view
        for view in table(session)
        if view.task == task and parameters.engine in {"auto", view.engine} and parameters.model in {None, view.model}
    ]
    # The default model of an engine comes before its others; sorting is stable, so the rest stays as it was.
    candidates.sort(key=lambda view: (view.preference, view.resource_class != "gpu", not _is_default(view, catalogue)))
    refusals: list[str] = []
    for view in candidates:
        refusal = _refusal(view, parameters)
        if refusal is None:
            return EngineChoice(view.engine, view.model, cast("ResourceClass", view.resource_class))
        refusals.append(refusal)
    if not refusals and parameters.model is not None:
        raise EngineUnavailable(f"No engine here has the model {parameters.model!r}.", code="unknown_model")
    if not refusals:
        raise EngineUnavailable(
            "No worker has said yet what it can run. Start the platform, or run `audiomill engines report`.",
            code="no_worker",
        )
    raise EngineUnavailable(f"No engine that can run here takes this order: {'; '.join(dict.fromkeys(refusals))}.")


def _is_default(view: EngineView, catalogue: dict[str, EngineEntry]) -> bool:
    entry = catalogue.get(view.engine)
    return entry is None or entry.default_models.get(cast("ResourceClass", view.resource_class)) == view.model


def _refusal(view: EngineView, parameters: Parameters) -> str | None:
    name = view.engine if view.model is None else f"{view.engine} {view.model}"
    if not view.available:
        return f"{name}: {view.lacks or 'cannot run here'}"
    language = _language(parameters)
    if language is not None and view.languages is not None and not _speaks(view.languages, language):
        return f"{name} does not know the language {language!r}"
    translates = isinstance(parameters, TranscribeParameters) and parameters.task == "translate"
    if translates and view.languages is not None and all(tag.startswith("en") for tag in view.languages):
        return f"{name} knows English only and cannot translate"
    return None


def _language(parameters: Parameters) -> str | None:
    if isinstance(parameters, TranscribeParameters):
        return None if parameters.language == "auto" else parameters.language.lower().replace("_", "-")
    if isinstance(parameters, SynthesizeParameters):
        return parameters.language.lower().replace("_", "-")
    return None


def _speaks(languages: Sequence[str], wanted: str) -> bool:
    """`de-at` is served by `de-at` or `de`, and `de` by any `de-…`."""
    known = {tag.lower() for tag in languages}
    base = wanted.split("-", maxsplit=1)[0]
    return wanted in known or base in known or (wanted == base and any(tag.startswith(f"{base}-") for tag in known))
