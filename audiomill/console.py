"""How the command speaks: one console each for results and for remarks, errors as one sentence. No commands."""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audiomill.errors import AudiomillError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class SentenceGroup(typer.core.TyperGroup):
    """A group whose commands end with a sentence and exit code 1 when audiomill refuses; `--debug` shows all."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps its click to itself
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AudiomillError as error:
            if debugging():
                raise
            fail(error.message)
        except BrokenPipeError:
            # The reader (`| head`) has seen enough. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except OSError as error:
            if debugging() or error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror}.")
        except KeyboardInterrupt:
            err.print("Stopped.")
            raise typer.Exit(130) from None


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return bool(os.environ.get("AUDIOMILL_DEBUG"))


def fail(sentence: str) -> NoReturn:
    """Print a sentence in red and end with exit code 1."""
    err.print(f"[red]{escape(sentence)}[/red]")
    raise typer.Exit(1)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table on the console. Cells are shown as they are: customers' file names are not markup."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(printable(_shown(cell)) for cell in row))
    Console(highlight=False, width=None if out.is_terminal else 160).print(table)


def _shown(cell: object) -> str:
    if isinstance(cell, datetime):
        return f"{cell.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return "" if cell is None else str(cell)


def printable(text: str) -> str:
    """Text without control characters and markup: a file name must not steer the terminal."""
    return escape("".join(character if character.isprintable() else "�" for character in text))
