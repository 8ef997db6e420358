"""`audiomill demo`: the whole way once on this machine, through the real API, sensors and Dagster."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiomill.cli.submit import others_of, parameters_of
from audiomill.cli.up import WATCH_SECONDS, stop_requests
from audiomill.console import err, fail, out, printable, show_table
from audiomill.data_dir import running_platform
from audiomill.formats import RECEIPT_SUFFIX, is_receipt
from audiomill.settings import Settings, get_settings

if TYPE_CHECKING:
    from audiomill.client.api import ApiClient

TEXT = (
    "Good morning and welcome. This text was spoken by a computer, and then another part of the same computer "
    "listened to it and wrote down what it heard."
)
EMBEDDED_NOTE = (
    "The embedded pocketsphinx transcribes where the weights of faster-whisper are not. It knows US English only, "
    "hears more than one word in four of clearly read speech wrong, and most words of a synthetic voice."
)


@dataclass(frozen=True)
class _Order:
    """What is ordered for each file. others: further inputs of the one file's job, each in a role."""

    recipe: str
    parameters: dict[str, Any] = field(default_factory=dict)
    others: Sequence[tuple[str, Path]] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one file. `problem` is None when all of it is there and every receipt holds."""

    path: Path
    folder: Path
    job: dict[str, Any] | None
    problem: str | None


def demo(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs; none: a text is spoken and transcribed.")
    ] = None,
    *,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="What to do with the files.")] = "transcribe",
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the results go.")] = Path("demo-output"),
    text: Annotated[str, typer.Option("--text", help="What to speak when no files are given.")] = TEXT,
    param: Annotated[list[str] | None, typer.Option("--set", help="name=value, beyond what the recipe sets.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", help="role=PATH: a further input of the one file's job.")
    ] = None,
) -> None:
    """Start the platform, run files through it, fetch and verify the results, stop the platform.

    Where a platform runs already, that one is used, and left running.
    """
    from audiomill.client.submitting import files_of  # noqa: PLC0415 - as above
    from audiomill.operators.key import login_url  # noqa: PLC0415 - as above
    from audiomill.platform.lifecycle import Platform  # noqa: PLC0415 - SQLAlchemy: not for --help

    paths = files_of(files) if files else []
    order = _Order(recipe, parameters_of(param or []), others_of(given or [], paths))
    if running_platform(get_settings().data_dir) is not None:
        _beside(paths, order, output, text)
        return
    settings = _own_settings()
    _fetch_weights(settings)
    platform = Platform(settings, purpose="demo", tell=err.print)
    outcomes: list[Outcome] = []
    with stop_requests() as asked:
        err.print(f"Starting the platform in {platform.data_dir} …")
        try:
            platform.start()
            platform.wait_ready(asked.is_set)
            if not asked.is_set():
                outcomes = _run(settings, paths, order, output, text)
                _show(outcomes)
            if keep and not asked.is_set():
                out.print(f"Dagster   {login_url(settings)}")
                out.print(f"API       {settings.api_url}/docs")
                out.print("It stays until Ctrl-C.")
                while not asked.wait(WATCH_SECONDS):
                    if (broken := platform.broken()) is not None:
                        fail(broken)
        finally:
            err.print("Stopping …")
            platform.stop()
    if asked.is_set() and not outcomes:
        raise typer.Exit(130)
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


def _beside(paths: list[Path], order: _Order, output: Path, text: str) -> None:
    """The demo on the platform that runs: nothing is started, so nothing is stopped."""
    from audiomill.platform.installation import current_settings, place  # noqa: PLC0415 - as above

    err.print(f"A platform runs already: the demo uses it. {place()}", markup=False)
    settings = current_settings()
    _wait_until_ready(settings)
    outcomes = _run(settings, paths, order, output, text)
    _show(outcomes)
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


def _wait_until_ready(settings: Settings) -> None:
    """It may have been started a moment ago, in another terminal."""
    import httpx  # noqa: PLC0415 - as above

    from audiomill.platform.lifecycle import READY_SECONDS  # noqa: PLC0415 - as above

    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"{settings.api_url}/readyz", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            fail(f"The API at {settings.api_url} does not answer.")
        time.sleep(WATCH_SECONDS)


def _own_settings() -> Settings:
    """The settings with free ports, so that a demo never meets another platform."""
    from audiomill.platform.processes import free_ports  # noqa: PLC0415 - psutil: not for --help

    names = ("AUDIOMILL_API__PORT", "AUDIOMILL_DAGSTER__PORT")
    for name, port in zip(names, free_ports(len(names)), strict=True):
        os.environ.setdefault(name, str(port))
    get_settings.cache_clear()
    return get_settings()


def _fetch_weights(settings: Settings) -> None:
    """Make sure of good weights before the start; says what the embedded engine is where it has to do."""
    from audiomill.cli.models import fetch_missing_defaults  # noqa: PLC0415 - as above

    if (why_not := fetch_missing_defaults(settings)) is not None:
        err.print(f"[yellow]{printable(why_not)}[/yellow]")
        err.print(f"[yellow]{EMBEDDED_NOTE}[/yellow]")


def _run(settings: Settings, paths: list[Path], order: _Order, output: Path, text: str) -> list[Outcome]:
    from audiomill.client.api import ApiClient  # noqa: PLC0415 - as above

    with ApiClient(settings.api_url, _new_key(settings)) as client:
        if paths:
            return _process(client, settings, paths, order, output)
        # Not in the output folder: there a folder of that name will hold what becomes of it.
        spoken_file = settings.data_dir / "demo" / "spoken.txt"
        spoken_file.parent.mkdir(parents=True, exist_ok=True)
        spoken_file.write_text(text + "\n")
        err.print(f"Speaking a text of {len(text.split())} words …")
        spoken = _process(client, settings, [spoken_file], _Order("synthesize"), output)
        speech = spoken[0].folder / "speech.wav"
        if spoken[0].problem is not None:
            return spoken
        err.print("Transcribing what was spoken …")
        # Named: what the embedded recogniser understands of a synthetic voice could be any language.
        heard = _process(client, settings, [speech], _Order("transcribe", {"language": "en"}), output)
        transcript = heard[0].folder / "transcript.txt"
        if heard[0].problem is None and transcript.exists():
            show_table(("spoken", "heard"), [(text, " ".join(transcript.read_text().split()))])
        return spoken + heard


def _process(
    client: "ApiClient",
    settings: Settings,
    paths: Sequence[Path],
    order: _Order,
    output: Path,
) -> list[Outcome]:
    """Order, follow, fetch and verify."""
    from audiomill.client.journal import Journal  # noqa: PLC0415 - as above
    from audiomill.client.submitting import folder_names, follow_all, send_and_order  # noqa: PLC0415 - as above

    # A demo orders each time it is run: its journal is of this run only.
    place = settings.data_dir / "submissions" / f"demo-{os.getpid()}.jsonl"
    place.unlink(missing_ok=True)
    # Where nobody watches a terminal there are no bars, and this takes its time.
    err.print(f"Sending {len(paths)} file{'s' if len(paths) != 1 else ''} for the recipe {order.recipe} …")
    with Journal(place) as journal:
        ordered = send_and_order(
            client, paths, recipe=order.recipe, parameters=order.parameters, journal=journal, others=order.others
        )
    place.unlink()
    follow_all(client, [(each.path.name, each.job_id) for each in ordered if each.job_id is not None])
    outcomes = []
    for each, name in zip(ordered, folder_names(paths), strict=True):
        folder = output / name
        job = client.job(each.job_id) if each.job_id is not None else None
        outcomes.append(Outcome(each.path, folder, job, each.reason or _fetched(client, job, folder)))
    return outcomes


def _fetched(client: "ApiClient", job: dict[str, Any] | None, folder: Path) -> str | None:
    """Fetch and verify a job's outputs; returns what is wrong, or None."""
    from audiomill.cli.verify import pairs_in, trusted_keys, verdicts  # noqa: PLC0415 - as above
    from audiomill.client.submitting import download_outputs  # noqa: PLC0415 - as above

    if job is None or job["state"] != "complete":
        return str(job["failure_reason"] or f"It is {job['state']}.") if job else "It was not ordered."
    written = download_outputs(client, job, folder)
    receipts = [path for path in written if is_receipt(path.name)]
    without = [
        path.name
        for path in written
        if path not in receipts and path.with_name(path.name + RECEIPT_SUFFIX) not in receipts
    ]
    if without or not receipts:
        return f"There is no receipt of {', '.join(without) or 'anything'}."
    # The keys of the installation itself, not those that an answer brings along.
    refused = [why for path in receipts for _, why in verdicts(pairs_in(path), trusted_keys(None)) if why]
    return refused[0] if refused else None


def _show(outcomes: list[Outcome]) -> None:
    from audiomill.client.told import engines_of, with_warnings  # noqa: PLC0415 - as above

    rows, used = [], set()
    for outcome in outcomes:
        job = outcome.job or {}
        engines = engines_of(job)
        used |= set(engines)
        audio = job.get("duration_seconds")
        there = f"{outcome.folder}/: {', '.join(_deliverables(outcome.folder, job))}"
        result = outcome.problem or with_warnings(there, job)
        shown = "" if audio is None else f"{audio:.1f}"
        rows.append((outcome.path, ", ".join(engines), shown, _taken(job), result))
    show_table(("file", "engines", "seconds of audio", "seconds taken", "outputs, or what was wrong"), rows)
    good = sum(outcome.problem is None for outcome in outcomes)
    out.print(
        f"{good} of {len(outcomes)} complete; every output has a receipt that holds." if good else "None is complete."
    )
    if "pocketsphinx" in used:
        err.print(f"[yellow]{EMBEDDED_NOTE}[/yellow]")


def _deliverables(folder: Path, job: dict[str, Any]) -> list[str]:
    names = [str(each["name"]) for each in job.get("outputs", []) if not is_receipt(str(each["name"]))]
    return [name for name in names if (folder / name).exists()]


def _taken(job: dict[str, Any]) -> str:
    from datetime import datetime  # noqa: PLC0415 - as above

    if not job.get("finished_at"):
        return ""
    taken = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])
    return f"{taken.total_seconds():.1f}"


def _new_key(settings: Settings) -> str:
    from audiomill.accounts.keys import create_key  # noqa: PLC0415 - as above
    from audiomill.database.connection import Database  # noqa: PLC0415 - as above
    from audiomill.platform.lifecycle import DEFAULT_WORKSPACE  # noqa: PLC0415 - as above

    database = Database.from_settings(settings)
    try:
        with database.session() as session:
            return create_key(session, workspace_id=DEFAULT_WORKSPACE, name="demo").plaintext
    finally:
        database.dispose()
