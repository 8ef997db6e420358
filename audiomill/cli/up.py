"""`audiomill up` and `audiomill status`: the platform of this machine in the foreground."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from audiomill.console import err, fail, out, show_table
from audiomill.data_dir import OURS, is_used, running_platform
from audiomill.platform.installation import place
from audiomill.settings import get_settings

WATCH_SECONDS = 2.0


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of ending this process at once.

    A handler of our own also undoes the `ignore` that a shell gives to background programs, which Dagster's programs
    would inherit and then never stop.
    """
    asked = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def up() -> None:
    """Start the platform: database, code server, Dagster's daemon and webserver, the API. Ctrl-C stops all of it."""
    from audiomill.errors import AudiomillError  # noqa: PLC0415 - as above
    from audiomill.operators.key import login_url  # noqa: PLC0415 - as above
    from audiomill.platform.lifecycle import Platform  # noqa: PLC0415 - SQLAlchemy: not for --help

    settings = get_settings()
    platform = Platform(settings, tell=err.print)
    with stop_requests() as asked:
        platform.start()
        problem = None
        try:
            platform.wait_ready(asked.is_set)
            if not asked.is_set():
                out.print(f"API       {settings.api_url}  (documentation: {settings.api_url}/docs)")
                out.print(f"Dagster   {login_url(settings)}")
                out.print("          (the link logs in once; another one, and the key: `audiomill keys operator`)")
                out.print(f"Logs      {platform.data_dir / 'logs'}")
                if settings.engines.fetch_default_weights:
                    platform.fetch_weights()
                out.print("Ready. Ctrl-C stops everything.")
            while not asked.wait(WATCH_SECONDS):
                if (problem := platform.broken()) is not None:
                    break
        except AudiomillError as error:
            problem = error.message
        finally:
            err.print("Stopping …")
            platform.stop()
    if problem is not None:
        fail(problem)
    err.print("Stopped.")


def purge(*, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete the data directory: database, recordings, results, keys. Refuses while a platform runs."""
    import shutil  # noqa: PLC0415 - only here

    from audiomill.database.embedded import running_server, uses_embedded  # noqa: PLC0415 - as above
    from audiomill.platform.processes import StartLock, end_leftovers  # noqa: PLC0415 - as above

    settings = get_settings()
    data_dir = settings.data_dir.resolve()
    if not is_used(data_dir):
        fail(f"Nothing of a platform is in {data_dir}.")
    lock = StartLock(data_dir)
    lock.acquire("purge")
    try:
        if not yes:
            err.print(f"This deletes {data_dir}: jobs, recordings, results, and the keys that its receipts need.")
            typer.confirm("Delete all of it?", abort=True)
        end_leftovers(data_dir)
        if uses_embedded(settings) and (server := running_server(settings)) is not None:
            server.stop()
        for each in data_dir.iterdir():
            if each.name in OURS:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    finally:
        lock.release()
    if left := sorted(each.name for each in data_dir.iterdir()):
        out.print(f"Deleted. What is not audiomill's stays in {data_dir}: {', '.join(left)}", markup=False)
    else:
        data_dir.rmdir()
        out.print(f"{data_dir} is gone.", markup=False)


def status() -> None:
    """Show which data directory is meant, under which addresses its platform runs, and that platform's programs."""
    from audiomill.platform.readiness import program_states  # noqa: PLC0415 - as above
    from audiomill.platform.sockets import supervisor_socket  # noqa: PLC0415 - as above

    settings = get_settings()
    out.print(place(), markup=False)
    if running_platform(settings.data_dir) is None:
        fail("No platform runs. Start one with `audiomill up`.")
    try:
        states = program_states(supervisor_socket(settings.data_dir))
    except OSError:
        fail("Its supervisor does not answer: it is starting or stopping.")
    show_table(("program", "state", ""), [(each.name, each.state.lower(), each.description) for each in states])
