"""The audiomill command: its groups put together. Each group has a file of its own; nothing heavy is imported here."""

import os
from typing import Annotated, Any

import typer

from audiomill.cli import accounts, database, demo, engines, inbox, jobs, models, retention, submit, up, verify
from audiomill.console import SentenceGroup, err, out
from audiomill.errors import ConfigurationError
from audiomill.platform.installation import place
from audiomill.platform.supervision import MARK


class MainGroup(SentenceGroup):
    """The whole command: its help says which installation is meant."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer keeps its click to itself
        """The help, and where everything is."""
        super().format_help(ctx, formatter)
        try:
            out.print(place(), markup=False)
        except ConfigurationError as error:
            err.print(error.message, style="red", markup=False)


app = typer.Typer(
    cls=MainGroup,
    name="audiomill",
    help="Audio in batches on Dagster: recordings and texts in; transcripts, voices, dubs out, each with a receipt.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("status")(up.status)
app.command("purge")(up.purge)
app.command("demo")(demo.demo)
app.command("submit")(submit.submit)
app.command("verify")(verify.verify)
app.command("receipt-keys")(verify.receipt_keys)
app.command("retention")(retention.retention)
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
    if MARK not in os.environ:
        # A program of a platform: `up` has said it.
        _tell_unknown_settings()
    if debug:
        os.environ["AUDIOMILL_DEBUG"] = "1"
    if data_dir is not None:
        from audiomill.settings import get_settings  # noqa: PLC0415 - only here

        os.environ["AUDIOMILL_DATA_DIR"] = data_dir
        get_settings.cache_clear()


def _tell_unknown_settings() -> None:
    from audiomill.settings import unknown_settings  # noqa: PLC0415 - pydantic

    for name, meant in unknown_settings(os.environ):
        hint = f" Did you mean {meant}?" if meant else ""
        err.print(f"There is no setting {name}: it does nothing.{hint}", style="yellow", markup=False)


if __name__ == "__main__":
    app()
