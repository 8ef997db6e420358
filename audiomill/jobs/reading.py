"""Jobs as the API reads them, with every request: statements of queries.py and pages.py as plain SQL, without the ORM.

The text of a statement is made once; only values travel after that. See audiomill/database/reading.py.
"""

from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import psycopg

from audiomill.database.reading import Reader
from audiomill.database.tables import Job, Output, Revision
from audiomill.errors import Conflict, NotFound
from audiomill.jobs.pages import JobPage, page_of, page_statement, page_values
from audiomill.jobs.queries import JobView, OutputView, job_not_found, job_shown, of_revision, outputs_shown
from audiomill.jobs.revising import ORDER, revision_not_complete, revision_not_found


async def read_job(reader: Reader, workspace_id: str, job_id: str) -> JobView:
    """One job; with its outputs once it is complete. Raises NotFound, DatabaseUnavailable."""
    rows = await reader.rows(job_text(), {"workspace_id": workspace_id, "job_id": job_id})
    if not rows:
        raise job_not_found(job_id)
    if rows[0]["state"] != "complete":
        return JobView(**rows[0])
    outputs = await reader.rows(_outputs_text(), {"job_id": job_id})
    return JobView(**rows[0], outputs=tuple(OutputView(**output) for output in outputs))


async def read_page(
    reader: Reader, workspace_id: str, *, limit: int, after: str | None, **wanted: str | None
) -> JobPage:
    """A page, newest first; `wanted` as in `pages.list_jobs`. Raises BadRequest, DatabaseUnavailable."""
    values = page_values(limit=limit, after=after, workspace_id=workspace_id, **wanted)
    rows = await reader.rows(_page_text(frozenset(values)), values)
    return page_of([JobView(**row) for row in rows], limit)


async def read_output(
    reader: Reader, workspace_id: str, job_id: str, name: str, *, revision: int | None = None
) -> OutputView:
    """A deliverable of a job's current revision, or of another one.

    Raises NotFound, Conflict (the job, or that revision of it, is not complete), DatabaseUnavailable.
    """
    values = {"workspace_id": workspace_id, "job_id": job_id, "name": name, "revision": revision}
    rows = await reader.rows(_output_text(), values)
    if not rows:
        raise job_not_found(job_id)
    state, reason = rows[0].pop("state"), rows[0].pop("failure_reason")
    made, made_reason = rows[0].pop("revision_state"), rows[0].pop("revision_reason")
    if state != "complete":
        why = f" {reason}" if reason else ""
        raise Conflict(f"The job {job_id} is {state}, so it has no outputs.{why}", code="job_not_complete")
    if revision is not None and revision != ORDER and made is None:
        raise revision_not_found(job_id, revision)
    if made not in {None, "complete"}:
        raise revision_not_complete(job_id, revision, made, made_reason)
    if rows[0]["name"] is None:
        raise NotFound(f"The job {job_id} has no output {name!r}.", code="output_not_found")
    return OutputView(**rows[0])


def _text(statement: Select[Any]) -> bytes:
    return str(statement.compile(dialect=psycopg.dialect())).encode()  # type: ignore[no-untyped-call]


@cache
def job_text() -> bytes:
    """The statement of one job; values: `workspace_id`, `job_id`. What a benchmark compares a GET with, too."""
    return _text(job_shown().where(Job.id == bindparam("job_id"), Job.workspace_id == bindparam("workspace_id")))


@cache
def _outputs_text() -> bytes:
    return _text(outputs_shown())


@cache
def _page_text(given: frozenset[str]) -> bytes:
    return _text(page_statement(given))


@cache
def _output_text() -> bytes:
    columns = [getattr(Output, name) for name in OutputView.__dataclass_fields__]
    wanted = func.coalesce(bindparam("revision", type_=Integer()), Job.revision)
    return _text(
        select(
            Job.state,
            Job.failure_reason,
            Revision.state.label("revision_state"),
            Revision.failure_reason.label("revision_reason"),
            *columns,
        )
        .outerjoin(Revision, (Revision.job_id == Job.id) & (Revision.revision == wanted))
        .outerjoin(Output, (Output.job_id == Job.id) & (Output.name == bindparam("name")) & of_revision(wanted))
        .where(Job.id == bindparam("job_id"), Job.workspace_id == bindparam("workspace_id"))
    )
