"""`audiomill jobs lines`: the lines of a dub as an operator sees them, and edits of them for its customer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiomill.cli.database import open_database
from audiomill.console import fail, out, show_table
from audiomill.settings import get_settings

if TYPE_CHECKING:
    from audiomill.jobs.lines import EditOfLines, JobLines

_TIMES = frozenset({"start_ms", "end_ms"})


def lines(
    job_id: Annotated[str, typer.Argument(help="A dub's id.")],
    *,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Show those of this one; default: the current one.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="LINE.field=value, as L00002.translation=Hola: text, translation, voice (empty: its speaker's again), "
            "start_ms, end_ms. Makes the next revision.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what --set would make anew.")] = False,
) -> None:
    """The lines of a dub; with --set they are edited, and what changed is made anew as the job's next revision."""
    from audiomill.jobs import lines as job_lines  # noqa: PLC0415 - SQLAlchemy: not for --help
    from audiomill.jobs.queries import get_job  # noqa: PLC0415 - as above
    from audiomill.storage.factory import open_store  # noqa: PLC0415 - as above

    settings = get_settings()
    edits = edits_of(given or [])
    if edits and revision is not None:
        fail("Edits are of the current revision: leave --revision out.")
    if dry_run and not edits:
        fail("--dry-run tells what edits would make anew: give them with --set.")
    with open_database() as database:
        store = open_store(settings)
        if not edits:
            _show(job_lines.read_lines(database, store, workspace_id=None, job_id=job_id, revision=revision))
            return
        with database.session() as session:
            workspace_id = get_job(session, None, job_id).workspace_id
        came = job_lines.edit_lines(
            database, store, settings, workspace_id=workspace_id, job_id=job_id, edits=edits, dry_run=dry_run
        )
    _tell(came, dry_run=dry_run)


def edits_of(pairs: Sequence[str]) -> list[Any]:
    """`LINE.field=value` pairs as edits, one for each line; or the end of the command with a sentence."""
    from pydantic import ValidationError  # noqa: PLC0415 - not for --help

    from audiomill.lines.editing import LineEdit  # noqa: PLC0415 - as above

    said: dict[str, dict[str, object]] = {}
    for pair in pairs:
        place, separator, value = pair.partition("=")
        line_id, dot, name = place.rpartition(".")
        if not separator or not dot or not line_id:
            fail(f"--set {pair!r} is not LINE.field=value, as L00002.translation=Hola is.")
        said.setdefault(line_id, {})[name] = int(value) if name in _TIMES and value.isdecimal() else value
        if name == "voice" and not value:
            said[line_id][name] = None
    edits = []
    for line_id, fields in said.items():
        try:
            edits.append(LineEdit.model_validate({"id": line_id, **fields}))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            fail(f"The edit of line {line_id} cannot be made: {'.'.join(map(str, first['loc']))}: {first['msg']}.")
    return edits


def _show(found: "JobLines") -> None:
    show_table(
        ("line", "speaker", "from ms", "to ms", "text", "translation", "voice", "drift ms"),
        [
            (
                line.id,
                line.speaker,
                line.start_ms,
                line.end_ms,
                line.text,
                line.translation,
                line.voice,
                line.drift_ms,
            )
            for line in found.document.lines
        ],
        title=f"revision {found.revision}",
    )


def _tell(came: "EditOfLines", *, dry_run: bool) -> None:
    if not came.changed:
        out.print("The lines are so already: nothing is made.")
        return
    steps = ", ".join(f"{each.step} {each.seconds:g}" for each in came.cost)
    verb = "would be made" if dry_run else "is made"
    what = "The next revision" if came.revision is None else f"Revision {came.revision}"
    out.print(f"{what} {verb} ({', '.join(came.changed)} changed). Seconds of sound made anew: {steps}.", markup=False)
