"""`audiomill jobs`: an operator's look at the jobs of all workspaces, straight from the database."""

import time
from typing import Annotated

import typer

from audiomill.cli.database import open_database
from audiomill.cli.lines import lines
from audiomill.console import SentenceGroup, err, out, printable, show_table
from audiomill.platform.installation import current_settings

jobs_app = typer.Typer(cls=SentenceGroup, help="Look at jobs, cancel them, edit lines.", no_args_is_help=True)
jobs_app.command("lines")(lines)
ENDED = frozenset({"complete", "failed", "cancelled"})
WATCH_SECONDS = 0.5
JobId = Annotated[str, typer.Argument(help="A job's id.")]


@jobs_app.command("list")
def list_jobs(
    *,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only of this workspace.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Only in this state.")] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", help="Only of this batch (a partition key in Dagster).")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only of this Dagster run.")] = None,
    submission: Annotated[str | None, typer.Option("--submission", help="Only of this submission.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, newest first.")] = 50,
) -> None:
    """Jobs, newest first."""
    from audiomill.jobs import pages  # noqa: PLC0415 - SQLAlchemy: not for --help

    with open_database() as database, database.session() as session:
        page = pages.list_jobs(
            session, workspace, limit=limit, state=state, submission_id=submission, batch_id=batch, run_id=run
        )
    rows = [
        (
            view.id,
            view.workspace_id,
            view.recipe,
            view.filename,
            view.state,
            f"{view.progress:.0%}",
            view.failure_reason,
        )
        for view in page.jobs
    ]
    show_table(("job", "workspace", "recipe", "file", "state", "done", "reason"), rows)
    if page.next_after:
        err.print(f"There are more: these are the newest {limit} (--limit).")


@jobs_app.command("show")
def show(job_id: JobId) -> None:
    """A job with its batch, its Dagster run, its steps where it has several, and its outputs."""
    from audiomill.client.told import engines_of  # noqa: PLC0415 - as above
    from audiomill.jobs import queries  # noqa: PLC0415 - as above
    from audiomill.jobs.handed_back import troubles  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        view = queries.get_job(session, None, job_id)
        trouble = troubles(session, limit=1, job_id=job_id)
    run_url = f"{current_settings().dagster_ui_url}/runs/{view.run_id}" if view.run_id else None
    fields = (
        ("job", view.id), ("workspace", view.workspace_id), ("submission", view.submission_id),
        ("file", view.filename), ("recipe", view.recipe), ("engines", ", ".join(engines_of(vars(view)))),
        ("state", f"{view.state} ({view.stage}, {view.progress:.0%})"), ("reason", view.failure_reason),
        *(("warning", warning["sentence"]) for warning in view.warnings),
        *(("handed back", f"{each.times} times, through a fault of ours: {each.why}") for each in trouble),
        *(("next try", each.next_try_at) for each in trouble),
        ("ordered", view.created_at), ("started", view.started_at), ("finished", view.finished_at),
        ("attempts", view.attempts), ("batch", view.batch_id), ("run", view.run_id), ("run's page", run_url),
    )  # fmt: skip
    show_table(("", ""), [(name, value) for name, value in fields if value is not None])
    if len(view.steps) > 1:
        show_table(
            ("step", "stage", "engine", "state", "done", "batch", "run", "reason"),
            [
                (
                    step["name"],
                    step["stage"],
                    " ".join(filter(None, (step["engine"], step["model"]))),
                    step["state"],
                    f"{step['progress']:.0%}",
                    step["batch_id"],
                    step["run_id"],
                    step["failure_reason"],
                )
                for step in view.steps
            ],
        )
    if len(view.revisions) > 1:
        show_table(
            ("revision", "of", "edited lines", "state", "done", "reason"),
            [
                (
                    made["revision"] if made["revision"] != view.revision else f"{made['revision']} (current)",
                    made["base"],
                    made["edited_lines"],
                    made["state"],
                    f"{made['progress']:.0%}",
                    made["failure_reason"],
                )
                for made in view.revisions
            ],
        )
    if view.outputs:
        show_table(
            ("output", "version", "bytes", "SHA-256"),
            [(output.name, output.version, output.size_bytes, output.sha256) for output in view.outputs],
        )


@jobs_app.command("cancel")
def cancel(job_ids: Annotated[list[str], typer.Argument(help="Jobs to cancel.")]) -> None:
    """Cancel jobs. One that has ended otherwise is left as it is, and the command ends with 1."""
    from audiomill.errors import CustomerError  # noqa: PLC0415 - as above
    from audiomill.jobs import queries  # noqa: PLC0415 - as above
    from audiomill.jobs.cancellation import cancel_job  # noqa: PLC0415 - as above

    failed = False
    with open_database() as database:
        for job_id in job_ids:
            try:
                with database.session() as session:
                    view = queries.get_job(session, None, job_id)
                    cancel_job(session, workspace_id=view.workspace_id, job_id=job_id)
            except CustomerError as error:
                failed = True
                err.print(f"[red]{printable(error.message)}[/red]")
            else:
                out.print(f"{job_id} cancelled.")
    if failed:
        raise typer.Exit(1)


@jobs_app.command("watch")
def watch(job_id: JobId) -> None:
    """What happened and happens to a job, until it ends. Ends with 1 if the job does not complete."""
    from audiomill.jobs import queries  # noqa: PLC0415 - as above
    from audiomill.jobs.events.replay import events_after  # noqa: PLC0415 - as above

    seq, state = 0, ""
    with open_database() as database:
        with database.session() as session:
            workspace = queries.get_job(session, None, job_id).workspace_id
        while state not in ENDED:
            with database.session() as session:
                events = events_after(session, workspace_id=workspace, job_id=job_id, seq=seq)
            for event in events:
                seq, state = event.seq, event.state
                reason = f"  {event.reason}" if event.reason else ""
                out.print(printable(f"{event.at:%H:%M:%S}  {event.state}  {event.stage}  {event.progress:.0%}{reason}"))
            if state not in ENDED:
                time.sleep(WATCH_SECONDS)
    if state != "complete":
        raise typer.Exit(1)
