"""`audiomill engines` and `audiomill doctor`: what can run on this machine, and what others said of theirs."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from audiomill.cli.database import open_database
from audiomill.console import SentenceGroup, err, fail, out, printable, show_table
from audiomill.data_dir import is_used
from audiomill.errors import AudiomillError
from audiomill.platform.installation import place
from audiomill.settings import get_settings

if TYPE_CHECKING:
    from audiomill.settings import Settings

_TROUBLES_SHOWN = 5
_LANGUAGES_SHOWN = 8

engines_app = typer.Typer(cls=SentenceGroup, help="Engines.", no_args_is_help=True)


@engines_app.command("report")
def report_engines(
    *,
    fetch: Annotated[bool, typer.Option("--fetch", help="First fetch default weights that are missing.")] = False,
    every: Annotated[
        float | None,
        typer.Option("--every", min=10, help="Go on, and report anew after so many seconds: for a node of its own."),
    ] = None,
) -> None:
    """Look at what this machine can run and tell the platform.

    `audiomill up` does it at its start, Dagster each minute for the code location's machine and, where that was longer
    ago, at the start of each run.
    """
    from audiomill.cli.models import fetch_missing_defaults  # noqa: PLC0415 - as below
    from audiomill.engines import registry  # noqa: PLC0415 - the engines' packages: not for --help
    from audiomill.errors import DatabaseUnavailable  # noqa: PLC0415 - as above
    from audiomill.jobs.availability import report_when_due, worker_name  # noqa: PLC0415 - as above

    settings = get_settings()
    if fetch and (why_not := fetch_missing_defaults(settings)) is not None:
        err.print(f"The default weights are not there. {printable(why_not)}")
    with open_database() as database:
        while True:
            try:
                rows = report_when_due(database, settings, lambda: registry.available(settings)) or ()
            except DatabaseUnavailable as error:
                if every is None:
                    raise
                err.print(error.message)
            else:
                ready = sum(row.available for row in rows)
                out.print(f"{ready} of {len(rows)} models can run on {printable(worker_name(settings))}.")
                for fault in dict.fromkeys(f"{row.engine}: {row.fault}" for row in rows if row.fault is not None):
                    err.print(printable(fault))
            if every is None:
                return
            time.sleep(every)


@engines_app.command("workers")
def list_workers() -> None:
    """The machines that said what they can run, and until when their word holds."""
    from audiomill.jobs.availability import workers  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        found = workers(session)
    show_table(
        ("worker", "said", "holds until", "can run"),
        [(each.name, each.heartbeat_at, each.expires_at, ", ".join(each.ready)) for each in found],
    )


@engines_app.command("forget")
def forget_worker(worker: Annotated[str, typer.Argument(help="Its name: `audiomill engines workers`.")]) -> None:
    """Take back what a machine said that is gone for good: orders are no longer given to its engines."""
    from audiomill.jobs.availability import forget  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        known = forget(session, worker)
    if not known:
        fail(f"No worker {worker!r} has said what it can run. `audiomill engines workers` lists them.")
    out.print(f"{printable(worker)} is forgotten.")


def doctor() -> None:
    """What can run here and what each of the others lacks; versions, database, store, hub. Ends with 1 if broken."""
    from audiomill.engines import registry  # noqa: PLC0415 - as above

    settings = get_settings()
    out.print(place(), markup=False)
    rows = registry.available(settings)
    show_table(
        ("task", "engine", "model", "on", "can run", "lacks, or its languages"),
        [
            (
                row.task.replace("_", " "),
                row.engine,
                row.model,
                row.resource_class,
                "yes" if row.available else "no",
                _languages(row.languages) if row.available else row.fault or row.lacks,
            )
            for row in rows
        ],
        title="Engines, best first: `auto` takes the first of its task that can run",
    )
    checks = list(_checks(settings))
    show_table(("", "state", ""), [(name, "" if good else "BROKEN", note) for name, good, note in checks])
    if not all(good for _, good, _ in checks):
        raise typer.Exit(1)


def _languages(known: tuple[str, ...] | None) -> str:
    """All of them where they are few: which pairs a translator has is what its users ask."""
    if known is None or len(known) > _LANGUAGES_SHOWN:
        return "" if known is None else f"{len(known)} languages"
    return ", ".join(known)


def _checks(settings: "Settings") -> Iterator[tuple[str, bool, str]]:
    from importlib.metadata import version  # noqa: PLC0415 - slow to import: not for --help

    yield "Python", sys.version_info[:2] == (3, 11), sys.version.split()[0]
    for package in ("audiomill", "dagster", "fastapi", "sqlalchemy", "faster-whisper", "ctranslate2", "av"):
        yield package, True, version(package)
    yield from _database(settings)
    yield "store", *_store(settings)
    # Not reaching it is no fault: it is only needed to fetch weights.
    yield "model hub", True, _hub(settings)


def _database(settings: "Settings") -> Iterator[tuple[str, bool, str]]:
    from sqlalchemy import text  # noqa: PLC0415 - as above

    from audiomill.jobs.handed_back import troubles  # noqa: PLC0415 - as above

    if settings.database.url is None and not is_used(settings.data_dir):
        yield "database", True, "none yet: `audiomill up` makes it"
        return
    try:
        with open_database() as database, database.session() as session:
            version = session.scalar(text("SHOW server_version"))
            waiting = troubles(session, limit=_TROUBLES_SHOWN)
    except AudiomillError as error:
        yield "database", False, error.message
        return
    yield "database", True, f"PostgreSQL {version}"
    # No fault of the whole installation: what is wrong may be one object's.
    bound = settings.lease.max_hand_backs
    for each in waiting:
        yield "handed back", True, f"{each.job_id}, {each.times} times of {bound}, then it is given up: {each.why}"


def _store(settings: "Settings") -> tuple[bool, str]:
    from audiomill.storage.factory import local_root, open_store  # noqa: PLC0415 - as above

    if settings.storage.kind == "local" and not local_root(settings).exists():
        return True, "none yet: `audiomill up` makes it"
    try:
        open_store(settings).ready()
    except AudiomillError as error:
        return False, error.message
    return True, str(local_root(settings)) if settings.storage.kind == "local" else f"s3://{settings.storage.bucket}"


def _hub(settings: "Settings") -> str:
    import httpx  # noqa: PLC0415 - as above
    from huggingface_hub.constants import ENDPOINT  # noqa: PLC0415 - as above

    try:
        httpx.head(ENDPOINT, timeout=settings.engines.hub_timeout_seconds)
    except httpx.HTTPError as error:
        return f"{ENDPOINT} cannot be reached ({type(error).__name__}): weights cannot be fetched from here"
    return f"{ENDPOINT} answers"
