"""What workers say that they can run, and the choice of an engine for an order: over all workers, one word of each.

A worker is a machine where runs execute, by its name. Engines' code is never loaded here, nor is any entry of the
settings imported: all that is known of an engine is what a worker said of it.
"""

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, cast

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.orm import Session

from audiomill.catalogue.engines import AvailabilityReport
from audiomill.catalogue.parameters import Feature
from audiomill.catalogue.stages import BUILT_IN, ResourceClass, Task
from audiomill.database.connection import Database
from audiomill.database.tables import EngineAvailability
from audiomill.errors import EngineUnavailable
from audiomill.settings import Settings

HOLDS_SECONDS = 86_400.0
"""How long a worker's word holds unless it says otherwise. A day: with GPU nodes that scale to zero no worker may live
while orders come in."""


@dataclass(frozen=True)
class Worker:
    """A machine that said what it can run. `ready`: engines, with their model, that can run there."""

    name: str
    heartbeat_at: datetime
    expires_at: datetime
    ready: tuple[str, ...]


@dataclass(frozen=True)
class EngineView:
    """One engine and model as customers and operators see it, over all workers.

    preference: the largest that a worker gave it, for a worker with engines of its own has them in front.
    """

    engine: str
    model: str | None
    resource_class: str
    task: str
    preference: int
    available: bool
    lacks: str | None
    languages: tuple[str, ...] | None
    workers: int
    licence: str
    features: tuple[str, ...]
    default_model: bool


class Asked(Protocol):
    """What an order, or a step of its plan, asks of an engine."""

    @property
    def engine(self) -> str:
        """Its name, or `auto`."""
        ...

    @property
    def model(self) -> str | None:
        """One of its models."""
        ...

    def wanted_language(self) -> str | None:
        """What it must know."""
        ...

    def wanted_features(self) -> frozenset[Feature]:
        """What it must be able to do."""
        ...


@dataclass(frozen=True)
class EngineChoice:
    """What `auto` or a named engine came to, frozen with the job."""

    engine: str
    model: str | None
    resource_class: ResourceClass


@dataclass(frozen=True)
class Word:
    """What one worker says of one engine and model."""

    engine: str
    model: str
    resource_class: str
    task: str
    preference: int
    available: bool
    lacks: str | None
    languages: list[str] | None
    licence: str
    features: list[str]
    default_model: bool


WORDS = f"""
    SELECT json_agg(json_build_object({", ".join(f"'{name}', {name}" for name in Word.__dataclass_fields__)})
                    ORDER BY available DESC, heartbeat_at DESC)
    FROM engine_availability WHERE expires_at > clock_timestamp() AND task = ANY(%(tasks)s::text[])
"""  # noqa: S608 - columns of our own
"""What holds for some tasks, for `merged`: part of the statement by which an order is decided (submission.py)."""


def worker_name(settings: Settings) -> str:
    """The name under which this machine reports."""
    return settings.engines.worker or socket.gethostname()


def report(
    session: Session, *, worker: str, rows: Sequence[AvailabilityReport], holds_seconds: float = HOLDS_SECONDS
) -> None:
    """Replace what this worker said before, and forget workers whose word no longer holds."""
    # Several processes of one machine may speak at once.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:worker, 0))"), {"worker": f"worker {worker}"})
    session.execute(
        delete(EngineAvailability).where(
            (EngineAvailability.worker == worker) | (EngineAvailability.expires_at < func.clock_timestamp())
        )
    )
    if rows:
        expires_at = session.scalar(
            select(func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, holds_seconds))
        )
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
                    "licence": row.licence,
                    "features": list(row.features),
                    "default_model": row.default_model,
                    "expires_at": expires_at,
                }
                for row in rows
            ],
        )


def report_when_due(
    database: Database,
    settings: Settings,
    look: Callable[[], Sequence[AvailabilityReport]],
    *,
    older_than_seconds: float = 0.0,
) -> Sequence[AvailabilityReport] | None:
    """Say what `look` finds on this machine; None where its last word is newer than so many seconds.

    `look` asks the engines, which takes a second or two: no transaction is open meanwhile.
    """
    worker = worker_name(settings)
    with database.session() as session:
        age = session.scalar(
            select(func.extract("epoch", func.clock_timestamp() - func.max(EngineAvailability.heartbeat_at))).where(
                EngineAvailability.worker == worker
            )
        )
    if age is not None and age < older_than_seconds:
        return None
    rows = look()
    with database.session() as session:
        report(session, worker=worker, rows=rows, holds_seconds=settings.engines.report_holds_seconds)
    return rows


def forget(session: Session, worker: str) -> bool:
    """Take back what a worker said: it is gone for good. False where it said nothing."""
    gone = session.scalars(
        delete(EngineAvailability).where(EngineAvailability.worker == worker).returning(EngineAvailability.engine)
    ).all()
    return bool(gone)


def workers(session: Session) -> list[Worker]:
    """Who said what it can run, by name."""
    said: dict[str, list[EngineAvailability]] = {}
    for row in _words(session):
        said.setdefault(row.worker, []).append(row)
    return [
        Worker(
            name,
            max(row.heartbeat_at for row in rows),
            min(row.expires_at for row in rows),
            tuple(sorted({f"{row.engine} {row.model}".strip() for row in rows if row.available})),
        )
        for name, rows in sorted(said.items())
    ]


def table(session: Session) -> list[EngineView]:
    """Every engine and model that any worker spoke of; available if any can run it. Best first within a task."""
    return merged(Word(**{name: getattr(row, name) for name in Word.__dataclass_fields__}) for row in _words(session))


def merged(words: Iterable[Word]) -> list[EngineView]:
    """The table from all words, those who can run it first, the newest first."""
    seen: dict[tuple[str, str, str], EngineView] = {}
    for word in words:
        key = (word.engine, word.model, word.resource_class)
        known = seen.get(key) or EngineView(
            word.engine,
            word.model or None,
            word.resource_class,
            word.task,
            word.preference,
            word.available,
            word.lacks,
            None if word.languages is None else tuple(word.languages),
            0,
            word.licence,
            tuple(word.features),
            word.default_model,
        )
        seen[key] = replace(
            known,
            preference=max(known.preference, word.preference),
            workers=known.workers + (1 if word.available else 0),
        )
    return sorted(
        seen.values(),
        key=lambda view: (view.task, view.preference, view.resource_class != "gpu", view.engine, view.model or ""),
    )


def _words(session: Session) -> Sequence[EngineAvailability]:
    """What holds, where an engine can run before where it cannot, the newest word first."""
    return session.scalars(
        select(EngineAvailability)
        .where(EngineAvailability.expires_at > func.clock_timestamp())
        .order_by(EngineAvailability.available.desc(), EngineAvailability.heartbeat_at.desc())
    ).all()


def choice_of(engines: Sequence[EngineView], *, task: Task | None, asked: Asked) -> EngineChoice:
    """The engine for a step: the named one, or the best that can run on a worker and speaks the language.

    Without a task none is needed: any worker's CPU will do.
    Raises EngineUnavailable that names what each candidate lacks. There is no silent fall to a worse engine: the
    choice is made here, once, and frozen.
    """
    if task is None:
        return EngineChoice(BUILT_IN, None, "cpu")
    known = [view for view in engines if view.task == task]
    if not known:
        raise EngineUnavailable(
            "No worker has said yet what it can run. Start the platform, or run `audiomill engines report`.",
            code="no_worker",
        )
    names = dict.fromkeys(view.engine for view in known)
    if asked.engine != "auto" and asked.engine not in names:
        raise EngineUnavailable(
            f"There is no engine {asked.engine!r} for this. There are: {', '.join(names)}.", code="unknown_engine"
        )
    candidates = [view for view in known if asked.engine in {"auto", view.engine} and asked.model in {None, view.model}]
    # The default model of an engine comes before its others; sorting is stable, so the rest stays as it was.
    candidates.sort(key=lambda view: (view.preference, view.resource_class != "gpu", not view.default_model))
    refusals: list[str] = []
    for view in candidates:
        refusal = _refusal(view, asked)
        if refusal is None:
            return EngineChoice(view.engine, view.model, cast("ResourceClass", view.resource_class))
        refusals.append(refusal)
    if not refusals:
        raise EngineUnavailable(f"No engine here has the model {asked.model!r}.", code="unknown_model")
    unaided = " With subtitles in the dub's language (the input `subtitles`) none is needed." * (task == "translation")
    raise EngineUnavailable(
        f"No engine that can run here takes this order: {'; '.join(dict.fromkeys(refusals))}.{unaided}"
    )


def _refusal(view: EngineView, asked: Asked) -> str | None:
    name = view.engine if view.model is None else f"{view.engine} {view.model}"
    if not view.available:
        return f"{name}: {view.lacks or 'cannot run here'}"
    language = asked.wanted_language()
    if language is not None and view.languages is not None and not _speaks(view.languages, language):
        source, arrow, target = language.partition(">")
        if arrow:
            return f"{name} does not translate{f' from {source!r}' if source else ''} to {target!r}"
        return f"{name} does not know the language {language!r}"
    knows_english_only = view.languages is not None and all(tag.startswith("en") for tag in view.languages)
    if "translation" in asked.wanted_features() and ("translation" not in view.features or knows_english_only):
        return f"{name} cannot translate"
    if "glossary" in asked.wanted_features() and "glossary" not in view.features:
        return f"{name} cannot keep to a glossary"
    return None


def _speaks(languages: Sequence[str], wanted: str) -> bool:
    """`de-at` is served by `de-at` or `de`, and `de` by any `de-…`; a pair (`en>es`) by the pair, or by knowing both.

    Of a pair whose source nobody named (`>es`) any into the target will do.
    """
    known = {tag.lower() for tag in languages}
    source, arrow, target = wanted.partition(">")
    if arrow:
        pairs = [tag.split(">") for tag in known if ">" in tag]
        if pairs:
            return any((not source or _speaks([one], source)) and _speaks([other], target) for one, other in pairs)
        return (not source or _speaks(languages, source)) and _speaks(languages, target)
    base = wanted.split("-", maxsplit=1)[0]
    return wanted in known or base in known or (wanted == base and any(tag.startswith(f"{base}-") for tag in known))
