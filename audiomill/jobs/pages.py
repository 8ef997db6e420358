"""Pages of jobs, newest first, by keyset: the lists of commands and of the API. What a job is there: queries.py."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, DateTime, Select, Text, bindparam, select, tuple_
from sqlalchemy.orm import Session, aliased

from audiomill.database.tables import Batch, Job, WorkItem
from audiomill.errors import BadRequest
from audiomill.jobs.queries import JobView, jobs_shown


@dataclass(frozen=True)
class JobPage:
    """A page of jobs, newest first. `next_after` is the cursor of the next page, None at the end."""

    jobs: tuple[JobView, ...]
    next_after: str | None


def list_jobs(
    session: Session,
    workspace_id: str | None,
    *,
    after: str | None = None,
    limit: int = 50,
    state: str | None = None,
    submission_id: str | None = None,
    batch_id: str | None = None,
    run_id: str | None = None,
) -> JobPage:
    """Jobs newest first, by keyset: a page costs the same however deep it lies. Raises BadRequest (bad cursor)."""
    values = page_values(
        limit=limit,
        after=after,
        workspace_id=workspace_id,
        state=state,
        submission_id=submission_id,
        batch_id=batch_id,
        run_id=run_id,
    )
    rows = session.execute(page_statement(frozenset(values)), values).all()
    return page_of([JobView(**row._mapping) for row in rows], limit)


def page_values(*, limit: int, after: str | None, **wanted: str | None) -> dict[str, Any]:
    """The values of a page's statement: only those that are given. Raises BadRequest (bad cursor)."""
    values: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if after is not None:
        values["after_time"], values["after_id"] = _decoded(after)
    return {**values, "one_more": limit + 1}


@cache
def page_statement(given: frozenset[str]) -> Select[Any]:
    """The statement of a page for the names of its values."""
    statement = jobs_shown().order_by(Job.created_at.desc(), Job.id.desc()).limit(bindparam("one_more"))
    columns = {
        "workspace_id": Job.workspace_id,
        "state": Job.state,
        "submission_id": Job.submission_id,
    }
    for name, column in columns.items():
        if name in given:
            statement = statement.where(column == bindparam(name))
    # Whichever step of the job was in that batch, or that run.
    item, batch = aliased(WorkItem), aliased(Batch)
    if "batch_id" in given:
        statement = statement.where(Job.id.in_(select(item.job_id).where(item.batch_id == bindparam("batch_id"))))
    if "run_id" in given:
        # A run that ended a job stays its run when the batch is run again; until it is begun, its batch's run counts.
        run_id: BindParameter[str] = bindparam("run_id")
        begun = select(item.job_id).where(item.run_id == run_id)
        not_begun = select(item.job_id).join(batch, batch.id == item.batch_id)
        not_begun = not_begun.where(item.run_id.is_(None), batch.run_id == run_id)
        statement = statement.where(Job.id.in_(begun.union_all(not_begun)))
    if "after_id" in given:
        after = tuple_(bindparam("after_time", type_=DateTime(timezone=True)), bindparam("after_id", type_=Text()))
        statement = statement.where(tuple_(Job.created_at, Job.id) < after)
    return statement


def page_of(views: Sequence[JobView], limit: int) -> JobPage:
    """The page of what was found: its last one only says that there is another page."""
    return JobPage(tuple(views[:limit]), _encoded(views[limit - 1]) if len(views) > limit else None)


def _encoded(view: JobView) -> str:
    return base64.urlsafe_b64encode(json.dumps([view.created_at.isoformat(), view.id]).encode()).decode()


def _decoded(cursor: str) -> tuple[datetime, str]:
    try:
        at, job_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        # PostgreSQL's text takes no NUL and no half of a character, which JSON can say.
        if not isinstance(job_id, str) or not job_id.isascii() or "\0" in job_id:
            raise ValueError("not a job id")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
    except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
        raise BadRequest("The page cursor is not one of ours. Begin at the first page.", code="bad_cursor") from error
    return moment, job_id
