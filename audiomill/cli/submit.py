"""`audiomill submit`: files, folders and globs sent to an installation's API, followed, and fetched."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from audiomill.console import err, fail, out, show_table
from audiomill.platform.installation import current_settings
from audiomill.settings import get_settings

INTERRUPTED = 130
ApiUrl = Annotated[str | None, typer.Option("--api", help="Address of the API; default: this installation's.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--key", help="API key. Better in the environment, where `ps` does not show it.", envvar="AUDIOMILL_API_KEY"
    ),
]


def connection(api: str | None, key: str | None) -> tuple[str, str]:
    """Address and key of the API, or the end of the command with a sentence."""
    if not key:
        fail("There is no API key. Make one with `audiomill keys create`, and set AUDIOMILL_API_KEY.")
    return (api or os.environ.get("AUDIOMILL_API_URL") or current_settings().api_url).rstrip("/"), key


def parameters_of(pairs: list[str]) -> dict[str, Any]:
    """`k=v` pairs: values are JSON where they read as JSON, else text. `formats=["txt"]`, `language=de`."""
    import json  # noqa: PLC0415 - not for --help

    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            fail(f"--set {pair!r} is not name=value.")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters


def others_of(pairs: list[str], files: list[Path]) -> list[tuple[str, Path]]:
    """`role=PATH` pairs: what the one file's job is given beside it."""
    others = []
    for pair in pairs:
        role, separator, path = pair.partition("=")
        if not separator or not role or not Path(path).expanduser().is_file():
            fail(f"--input {pair!r} is not role=PATH with the path of a file.")
        others.append((role, Path(path).expanduser()))
    if others and len(files) != 1:
        fail(f"With --input all inputs make one job, and {len(files)} files were named. Name one.")
    return others


def submit(
    paths: Annotated[list[str], typer.Argument(help="Files, folders (with all below them) and globs.")],
    *,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="What to do: see `GET /v1/recipes`.")],
    param: Annotated[
        list[str] | None, typer.Option("--set", "--param", "-p", help="name=value, beyond what the recipe sets.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", help="role=PATH: a further input of the one file's job, as subtitles=es.srt."),
    ] = None,
    download: Annotated[
        Path | None, typer.Option("--download", "-d", help="Fetch the outputs to <DIR>/<file>/.")
    ] = None,
    wait: Annotated[bool | None, typer.Option("--wait/--no-wait", help="Follow the jobs to their ends.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Order anew what was ordered before.")] = False,
    api: ApiUrl = None,
    key: ApiKey = None,
) -> None:
    """Send files to the API and order a recipe for each. Repeat it after a crash: nothing is ordered twice."""
    from audiomill.client.api import ApiClient  # noqa: PLC0415 - httpx: not for --help
    from audiomill.client.journal import Journal, fingerprint, journal_path  # noqa: PLC0415 - as above
    from audiomill.client.submitting import files_of, send_and_order  # noqa: PLC0415 - as above

    parameters = parameters_of(param or [])
    base_url, key = connection(api, key)
    files = files_of(paths)
    others = others_of(given or [], files)
    about = {**parameters, "--input": [[role, fingerprint(path)] for role, path in others]} if others else parameters
    place = journal_path(get_settings().data_dir, base_url=base_url, key=key, recipe=recipe, parameters=about)
    if again:
        place.unlink(missing_ok=True)
    with ApiClient(base_url, key) as client:
        try:
            with Journal(place) as journal:
                ordered = send_and_order(
                    client, files, recipe=recipe, parameters=parameters, journal=journal, others=others
                )
        except KeyboardInterrupt:
            err.print("Stopped. What was sent and ordered is remembered: the same command goes on from there.")
            raise typer.Exit(INTERRUPTED) from None
        if before := sum(each.again for each in ordered):
            err.print(f"{before} of {len(ordered)} files had been ordered before (--again orders them anew).")
        if wait is False:
            show_table(("file", "job"), [(each.path, each.job_id or each.reason) for each in ordered])
            failed = any(each.job_id is None for each in ordered)
        else:
            failed = _finish(client, ordered, download)
    if failed:
        raise typer.Exit(1)


def _finish(client: Any, ordered: list[Any], download: Path | None) -> bool:  # noqa: ANN401 - imported late
    from audiomill.client.submitting import download_outputs, folder_names, follow_all  # noqa: PLC0415 - as above
    from audiomill.client.told import with_warnings  # noqa: PLC0415 - as above

    names = folder_names([each.path for each in ordered])
    places = {each.job_id: name for each, name in zip(ordered, names, strict=True) if each.job_id}
    named = {each.job_id: each.path.name for each in ordered if each.job_id}
    ended: dict[str, tuple[str, str]] = {}

    def take(job_id: str) -> None:
        """What is complete is fetched as it comes: whoever stops here has it."""
        job = client.job(job_id)
        remark = job["failure_reason"] or ""
        if job["state"] == "complete" and download is not None:
            folder = download / places[job_id]
            remark = f"{len(download_outputs(client, job, folder))} files in {folder}"
        if job["state"] == "complete":
            remark = with_warnings(remark, job)
        ended[job_id] = (job["state"], remark)

    stopped = False
    try:
        follow_all(client, [(name, job_id) for job_id, name in named.items()], take)
    except KeyboardInterrupt:
        stopped = True
    rows = []
    for each in ordered:
        state, remark = ended.get(each.job_id, ("goes on", "")) if each.job_id else ("refused", each.reason)
        rows.append((each.path, each.job_id, state, remark))
    show_table(("file", "job", "state", ""), rows)
    complete = sum(state == "complete" for _, _, state, _ in rows)
    out.print(f"{complete} of {len(rows)} complete.")
    if stopped:
        err.print(
            f"Stopped. {len(named) - len(ended)} of {len(named)} jobs go on without this command; the same command "
            "takes them up again, and orders nothing twice."
        )
        raise typer.Exit(INTERRUPTED)
    return bool(complete < len(rows))
