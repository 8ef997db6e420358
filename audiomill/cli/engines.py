"""`audiomill engines report` and `audiomill doctor`: what can run on this machine."""

import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from audiomill.cli.console import SentenceGroup, err, out, printable, show_table
from audiomill.cli.database import open_database
from audiomill.errors import AudiomillError
from audiomill.settings import get_settings

if TYPE_CHECKING:
    from audiomill.settings import Settings

engines_app = typer.Typer(cls=SentenceGroup, help="Engines.", no_args_is_help=True)


@engines_app.command("report")
def report_engines(
    *,
    fetch: Annotated[bool, typer.Option("--fetch", help="First fetch default weights that are missing.")] = False,
) -> None:
    """Look at what this machine can run and tell the platform. `audiomill up` does it at its start, Dagster hourly."""
    from audiomill.cli.models import fetch_missing_defaults  # noqa: PLC0415 - as below
    from audiomill.engines import registry  # noqa: PLC0415 - the engines' packages: not for --help
    from audiomill.jobs.availability import AvailabilityReport, report  # noqa: PLC0415 - as above

    if fetch and (why_not := fetch_missing_defaults(get_settings())) is not None:
        err.print(f"The default weights are not there. {printable(why_not)}")
    rows = [AvailabilityReport(**row.__dict__) for row in registry.available(get_settings())]
    with open_database() as database, database.session() as session:
        report(session, worker=socket.gethostname(), rows=rows)
    out.print(f"{sum(row.available for row in rows)} of {len(rows)} models can run here.")


def doctor() -> None:
    """What can run here and what each of the others lacks; versions, database, store, hub. Ends with 1 if broken."""
    from audiomill.engines import registry  # noqa: PLC0415 - as above

    settings = get_settings()
    rows = registry.available(settings)
    show_table(
        ("task", "engine", "model", "on", "can run", "lacks"),
        [
            (
                row.task.replace("_", " "),
                row.engine,
                row.model,
                row.resource_class,
                "yes" if row.available else "no",
                row.lacks,
            )
            for row in rows
        ],
        title="Engines, best first: `auto` takes the first of its task that can run",
    )
    checks = list(_checks(settings))
    show_table(("", "state", ""), [(name, "" if good else "BROKEN", note) for name, good, note in checks])
    if not all(good for _, good, _ in checks):
        raise typer.Exit(1)


def _checks(settings: "Settings") -> Iterator[tuple[str, bool, str]]:
    from importlib.metadata import version  # noqa: PLC0415 - slow to import: not for --help

    yield "Python", sys.version_info[:2] == (3, 11), sys.version.split()[0]
    for package in ("audiomill", "dagster", "fastapi", "sqlalchemy", "faster-whisper", "ctranslate2", "av"):
        yield package, True, version(package)
    yield "database", *_database()
    yield "store", *_store(settings)
    # Not reaching it is no fault: it is only needed to fetch weights.
    yield "model hub", True, _hub(settings)


def _database() -> tuple[bool, str]:
    from sqlalchemy import text  # noqa: PLC0415 - as above

    try:
        with open_database() as database, database.session() as session:
            return True, f"PostgreSQL {session.scalar(text('SHOW server_version'))}"
    except AudiomillError as error:
        return False, error.message


def _store(settings: "Settings") -> tuple[bool, str]:
    from audiomill.storage.factory import local_root, open_store  # noqa: PLC0415 - as above

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
