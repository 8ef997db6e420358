"""`audiomill retention`: what would go now, and letting it go. What goes and when is in audiomill/retention."""

from typing import Annotated

import typer

from audiomill.cli.database import open_database
from audiomill.console import out, show_table
from audiomill.settings import get_settings


def retention(
    *, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go; delete nothing.")] = False
) -> None:
    """Delete what nobody needs any more, by the settings under `retention`. `audiomill up` does so by itself.

    Without `--dry-run` one bounded piece of each kind goes; with it, all that would go is counted.
    """
    from audiomill.retention.schedule import sweep, would_free  # noqa: PLC0415 - SQLAlchemy: not for --help
    from audiomill.retention.sweeping import Freed, Ground  # noqa: PLC0415 - as above
    from audiomill.storage.factory import open_store  # noqa: PLC0415 - as above

    settings = get_settings()
    with open_database() as database:
        ground = Ground(database, open_store(settings), settings, dry_run=dry_run)
        swept = would_free(ground) if dry_run else sweep(ground, seconds=float("inf"))
    show_table(
        ("what", "goes", "rows", "objects", "bytes", "error"),
        [
            (each.sweep.name, each.sweep.when, each.freed.rows, each.freed.objects, each.freed.size_bytes, each.error)
            for each in swept
        ],
    )
    total = sum((each.freed for each in swept), Freed())
    verb = "Would free" if dry_run else "Freed"
    out.print(f"{verb} {total.rows:,} rows and {total.objects:,} objects of {total.size_bytes:,} bytes.", markup=False)
