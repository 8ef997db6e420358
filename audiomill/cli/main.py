"""The audiomill command: its groups put together. Each group has a file of its own; nothing heavy is imported here."""

import os
from typing import Annotated

import typer

from audiomill.cli import accounts, database, demo, engines, inbox, jobs, models, submit, up, verify
from audiomill.cli.console import SentenceGroup, out

app = typer.Typer(
    cls=SentenceGroup,
    name="audiomill",
    help="Batch audio processing on Dagster: recordings and texts in, transcripts and voices out, each with a receipt.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("status")(up.status)
app.command("demo")(demo.demo)
app.command("submit")(submit.submit)
app.command("verify")(verify.verify)
app.command("receipt-keys")(verify.receipt_keys)
app.command("doctor")(engines.doctor)
app.add_typer(jobs.jobs_app, name="jobs")
app.add_typer(inbox.inbox_app, name="inbox")
app.add_typer(engines.engines_app, name="engines")
app.add_typer(models.models_app, name="models")
app.add_typer(accounts.keys_app, name="keys")
app.add_typer(accounts.workspaces_app, name="workspaces")
app.add_typer(database.database_app, name="database", hidden=True)
app.add_typer(database.db_app, name="db")


@app.callback()
def options(
    context: typer.Context,
    *,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors.", envvar="AUDIOMILL_DEBUG")
    ] = False,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where everything lives (AUDIOMILL_DATA_DIR).")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Options of all commands; given to the settings, and to every process that is started, by the environment."""
    if context.invoked_subcommand != "submit":
        # What a command leaves in the data directory is its user's alone. What `submit` fetches is for them to decide.
        before = os.umask(0o077)
        context.call_on_close(lambda: os.umask(before))
    if version:
        from audiomill import __version__  # noqa: PLC0415 - only here

        out.print(f"audiomill {__version__}")
        raise typer.Exit
    if debug:
        os.environ["AUDIOMILL_DEBUG"] = "1"
    if data_dir is not None:
        from audiomill.settings import get_settings  # noqa: PLC0415 - only here

        os.environ["AUDIOMILL_DATA_DIR"] = data_dir
        get_settings.cache_clear()


if __name__ == "__main__":
    app()
