"""Files to jobs to results, by the API, for `submit` and `demo`. Shows progress bars; prints no tables."""

import glob
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from audiomill.client.api import ApiClient, JobEvent
from audiomill.client.journal import Intent, Journal, fingerprint
from audiomill.console import err, printable
from audiomill.errors import BadRequest, CustomerError, NotFound

Item = TypeVar("Item")
SEND_THREADS = 4
FOLLOW_THREADS = 8
JOBS_PER_ORDER = 100
"""Small enough that the first files are worked on while the last are sent."""
UPLOAD_GONE = frozenset({"upload_not_found", "upload_missing"})


@dataclass(frozen=True)
class Ordered:
    """A file and its job, or why it has none."""

    path: Path
    job_id: str | None
    reason: str | None = None
    again: bool = False
    """It had been ordered before: the job is that of then."""


def files_of(paths: Sequence[str]) -> list[Path]:
    """Files of paths, folders (hidden ones below left out) and globs. Raises BadRequest where one has none."""
    found: dict[Path, None] = {}
    for text in paths:
        path = Path(text).expanduser()
        if path.is_file():
            below = [path]
        elif path.is_dir():
            below = [each for each in sorted(path.rglob("*")) if each.is_file() and not _hidden(each, path)]
        else:
            below = [Path(each) for each in sorted(glob.glob(str(path), recursive=True)) if Path(each).is_file()]  # noqa: PTH207 - the pattern may be absolute, which Path.glob refuses
        if not below:
            raise BadRequest(f"There is no file at {text!r}.", code="no_files")
        found.update(dict.fromkeys(below))
    return list(found)


def _hidden(path: Path, base: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(base).parts)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on the console's error side, so that results can be piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=False, disable=not err.is_terminal) as progress:
        yield progress


def send_and_order(
    client: ApiClient,
    paths: Sequence[Path],
    *,
    recipe: str,
    parameters: dict[str, Any],
    journal: Journal,
    others: Sequence[tuple[str, Path]] = (),
) -> list[Ordered]:
    """Send what was not sent, order what was not ordered; one result per path, in order.

    others: further inputs in their roles, of the one job that there is then for the one path.

    A file that the API refuses alone (empty, too large) is a result with a reason; an order that it refuses (unknown
    recipe, bad parameter, no engine) is raised.
    """
    prints = {path: fingerprint(path) for path in paths}
    named = _others(client, others, journal)
    before = {path for path, file in prints.items() if file in journal.jobs}
    for intent in list(journal.intents.values()):
        # Begun by a process that did not live to hear the answer.
        _order(client, intent, recipe, parameters, journal, named)
    missing = [path for path, file in prints.items() if file not in journal.jobs]
    reasons: dict[Path, str] = {}
    for start in range(0, len(missing), JOBS_PER_ORDER):
        chunk = missing[start : start + JOBS_PER_ORDER]
        reasons |= _send(client, chunk, prints, journal)
        files = list(dict.fromkeys(prints[path] for path in chunk if path not in reasons))
        if files:
            _order(client, journal.intend(files), recipe, parameters, journal, named)
    return [
        Ordered(
            path, journal.jobs.get(prints[path]), reasons.get(path) or _unsent(journal, prints[path]), path in before
        )
        for path in paths
    ]


def _others(client: ApiClient, others: Sequence[tuple[str, Path]], journal: Journal) -> list[tuple[str, str]]:
    """Further inputs, sent: the role and the fingerprint of each. Raises BadRequest where one is refused."""
    prints = {path: fingerprint(path) for _, path in others}
    for path, reason in (_send(client, list(prints), prints, journal) if prints else {}).items():
        raise BadRequest(f"{path}: {reason}", code="input_refused")
    return [(role, prints[path]) for role, path in others]


def _unsent(journal: Journal, file: str) -> str | None:
    # An upload that had expired by the time of its order: rare, and mended by a repeat.
    return None if file in journal.jobs else "Its upload has expired. Submit it again."


def _send(client: ApiClient, paths: Sequence[Path], prints: dict[Path, str], journal: Journal) -> dict[Path, str]:
    """Send files by a few threads; returns the reasons of those that were refused."""
    reasons: dict[Path, str] = {}
    lock = threading.Lock()
    total = sum(path.stat().st_size for path in paths)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        whole = progress.add_task(f"Sending {len(paths)} files", total=total)

        def send(path: Path) -> None:
            file = prints[path]
            if file in journal.uploads:
                progress.advance(whole, path.stat().st_size)
                return
            try:
                upload_id = client.upload(path, lambda count: progress.advance(whole, count))
            except CustomerError as error:
                if error.code in {"unauthorized", "unknown_key"}:
                    raise
                with lock:
                    reasons[path] = error.message
            else:
                with lock:
                    journal.uploaded(file, upload_id)

        in_threads(send, paths, SEND_THREADS)
    return reasons


def _order(
    client: ApiClient,
    intent: Intent,
    recipe: str,
    parameters: dict[str, Any],
    journal: Journal,
    others: Sequence[tuple[str, str]],
) -> None:
    inputs = [{"upload_id": upload} for upload in intent.uploads]
    inputs += [{"upload_id": journal.uploads[file], "role": role} for role, file in others]
    try:
        journal.ordered(intent, client.order(recipe, parameters, inputs, intent.key))
    except CustomerError as error:
        # The API makes all jobs of an order or none.
        journal.refused(intent)
        if error.code not in UPLOAD_GONE and not isinstance(error, NotFound):
            raise
        for file in (*intent.files, *(file for _, file in others)):
            journal.forget_upload(file)


def follow_all(
    client: ApiClient, named: Sequence[tuple[str, str]], on_end: Callable[[str], None] = lambda _: None
) -> None:
    """Follow jobs (name, job id) to their ends with a bar each; `on_end` gets each job id as it ends."""
    with progress_bars() as progress:
        whole = progress.add_task(f"{len(named)} jobs", total=len(named), note="")

        def follow(item: tuple[str, str]) -> None:
            name, job_id = item
            bar = progress.add_task(printable(name), total=1.0, note="queued", visible=False)
            state = client.follow(job_id, lambda event: _show(progress, bar, event))
            progress.update(bar, completed=1.0, note=state, visible=len(named) <= FOLLOW_THREADS)
            on_end(job_id)
            progress.advance(whole)

        in_threads(follow, named, FOLLOW_THREADS)


def in_threads(work: Callable[[Item], None], items: Sequence[Item], threads: int) -> None:
    """Do the work for each item by a few threads; raises the first error, and Ctrl-C, at once.

    Not by a pool, which waits for its threads before it lets an interrupt pass, and Python at its end for the pool's:
    a thread that follows a job waits for as long as the job takes. What these do may be left where it is.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()
    for item in items:
        waiting.put(item)

    def run() -> None:
        with suppress(queue.Empty):
            while not stopped.is_set():
                item = waiting.get_nowait()
                try:
                    work(item)
                except BaseException as error:  # noqa: BLE001 - raised below
                    ended.put(error)
                else:
                    ended.put(None)

    for _ in range(min(threads, len(items))):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in items:
            if (error := ended.get()) is not None:
                raise error
    finally:
        stopped.set()


def _show(progress: Progress, bar: TaskID, event: JobEvent) -> None:
    progress.update(bar, completed=event.progress, note=f"{event.stage} {event.state}", visible=True)


def download_outputs(client: ApiClient, job: dict[str, Any], folder: Path) -> list[Path]:
    """Fetch all outputs of a complete job, receipts among them, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for output in job["outputs"]:
        # Names are the service's, but a client trusts no server with its file system.
        target = folder / Path(str(output["name"])).name
        client.download(str(job["id"]), str(output["name"]), target)
        written.append(target)
    return written


def folder_names(paths: Sequence[Path]) -> list[str]:
    """A folder name for each file: its name, or `name-2`, `name-3` where another has that name."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, number = path.name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{path.name}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
