"""`audiomill inbox`: what became of the objects of the inbox."""

from typing import Annotated

import typer

from audiomill.cli.database import open_database
from audiomill.console import SentenceGroup, show_table

inbox_app = typer.Typer(cls=SentenceGroup, help="The inbox.", no_args_is_help=True)


@inbox_app.command("list")
def list_entries(
    *,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only what was not taken.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, newest first.")] = 50,
) -> None:
    """The newest entries with their outcome and reason."""
    from audiomill.inbox.entries import recent_entries  # noqa: PLC0415 - SQLAlchemy: not for --help

    with open_database() as database, database.session() as session:
        entries = recent_entries(session, outcome="rejected" if rejected else None, limit=limit)
    show_table(
        ("object", "outcome", "reason", "submission", "seen"),
        [(each.object_key, each.outcome, each.reason, each.submission_id, each.seen_at) for each in entries],
    )
