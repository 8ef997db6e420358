"""`audiomill models`: the weights in the model store, and fetching the default ones where a start asks for them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomill.console import SentenceGroup, err, out, show_table
from audiomill.errors import EngineUnavailable
from audiomill.settings import Settings, get_settings

if TYPE_CHECKING:
    from audiomill.engines.model_store import InstalledModel

models_app = typer.Typer(cls=SentenceGroup, help="Weights of engines.", no_args_is_help=True)
Engine = Annotated[str, typer.Argument(help="An engine's name: `audiomill doctor` lists them.")]
Model = Annotated[str, typer.Argument(help="A model's name: small, large-v3-turbo, …")]


@models_app.command("list")
def list_models() -> None:
    """What is in the model store."""
    from audiomill.engines.model_store import ModelStore  # noqa: PLC0415 - httpx: not for --help

    installed = ModelStore(get_settings().model_store_dir).installed()
    show_table(
        ("engine", "model", "MB", "SHA-256"),
        [(each.engine, each.model, f"{each.size_bytes / 1e6:.0f}", each.sha256) for each in installed],
    )


@models_app.command("pull")
def pull_model(engine: Engine, model: Model) -> None:
    """Fetch weights from the hub."""
    pulled = fetch(get_settings(), engine, model)
    _tell_installed(pulled)


@models_app.command("add")
def add_model(
    engine: Engine,
    model: Model,
    folder: Annotated[Path, typer.Argument(help="A folder with the weights; it is copied.")],
) -> None:
    """Install weights from a folder of this machine, where the hub cannot be reached."""
    from audiomill.engines.model_store import ModelStore  # noqa: PLC0415 - as above

    _tell_installed(ModelStore(get_settings().model_store_dir).add(engine, model, folder))


def _tell_installed(model: "InstalledModel") -> None:
    out.print(f"{model.engine} {model.model} is there: {model.size_bytes / 1e6:.0f} MB, SHA-256 {model.sha256}.")
    out.print("A running platform sees it after `audiomill engines report`.")


def fetch(settings: Settings, engine: str, model: str) -> "InstalledModel":
    """Fetch weights with a progress bar. Raises EngineUnavailable when the hub does not give them."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415 - as above

    from audiomill.engines.model_store import ModelStore  # noqa: PLC0415 - as above

    store = ModelStore(settings.model_store_dir)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        bar = progress.add_task(f"{engine} {model}", total=None)
        return store.pull(
            engine,
            model,
            timeout_seconds=settings.engines.hub_timeout_seconds,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def fetch_missing_defaults(settings: Settings) -> str | None:
    """Fetch the default weights that alone are missing here; returns why that did not go well, or None."""
    from audiomill.engines.model_store import missing  # noqa: PLC0415 - as above
    from audiomill.engines.registry import available  # noqa: PLC0415 - as above

    if not settings.engines.fetch_default_weights:
        return None
    for row in available(settings):
        if row.model is None or row.lacks != missing(row.engine, row.model):
            continue
        err.print(f"Fetching the weights of {row.engine} {row.model} from the model hub …")
        try:
            fetch(settings, row.engine, row.model)
        except EngineUnavailable as error:
            # The hub is tried once a start: the next model would wait for the same silence.
            return error.message
    return None
