"""`audiomill submit`: files, folders and globs sent to an installation's API, followed, and fetched."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from audiomill.cli.console import err, fail, out, show_table
from audiomill.settings import get_settings

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
    return (api or os.environ.get("AUDIOMILL_API_URL") or get_settings().api_url).rstrip("/"), key


def parameters_of(pairs: list[str]) -> dict[str, Any]:
    """`k=v` pairs: values are JSON where they read as JSON, else text. `formats=["txt"]`, `language=de`."""
    import json  # noqa: PLC0415 - not for --help

    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            fail(f"--param {pair!r} is not name=value.")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters


def submit(
    paths: Annotated[list[str], typer.Argument(help="Files, folders (with all below them) and globs.")],
    *,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="What to do: see `GET /v1/recipes`.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="name=value, beyond what the recipe sets.")
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
    from audiomill.cli.client import ApiClient  # noqa: PLC0415 - httpx: not for --help
    from audiomill.cli.journal import Journal, journal_path  # noqa: PLC0415 - as above
    from audiomill.cli.submitting import files_of, send_and_order  # noqa: PLC0415 - as above

    parameters = parameters_of(param or [])
    base_url, key = connection(api, key)
    files = files_of(paths)
    place = journal_path(get_settings().data_dir, base_url=base_url, key=key, recipe=recipe, parameters=parameters)
    if again:
        place.unlink(missing_ok=True)
    with ApiClient(base_url, key) as client:
        with Journal(place) as journal:
            ordered = send_and_order(client, files, recipe=recipe, parameters=parameters, journal=journal)
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
    from audiomill.cli.submitting import download_outputs, folder_names, follow_all  # noqa: PLC0415 - as above

    follow_all(client, [(each.path.name, each.job_id) for each in ordered if each.job_id])
    rows, failed = [], False
    names = folder_names([each.path for each in ordered])
    for each, name in zip(ordered, names, strict=True):
        job = client.job(each.job_id) if each.job_id else None
        state = job["state"] if job else "refused"
        remark = each.reason if job is None else job["failure_reason"] or ""
        if job is not None and state == "complete" and download is not None:
            remark = f"{len(download_outputs(client, job, download / name))} files in {download / name}"
        failed |= state != "complete"
        rows.append((each.path, each.job_id, state, remark))
    show_table(("file", "job", "state", ""), rows)
    out.print(f"{sum(row[2] == 'complete' for row in rows)} of {len(rows)} complete.")
    return failed
