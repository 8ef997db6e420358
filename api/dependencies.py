"""What endpoints ask for: the services of the process, one transaction, the workspace that asks.

All of it is `async def`, though little of it waits: FastAPI runs a plain function in a thread, which costs more.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Path, Request, Security
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.jobs.streams import OpenStreams
from audiomill.accounts.key_check import KeyCheck
from audiomill.accounts.keys import Principal
from audiomill.database.connection import Database
from audiomill.database.reading import Reader
from audiomill.errors import NotFound
from audiomill.jobs.events.following import CONCURRENT_READS, JobFeed
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

SLOT_SECONDS = 15.0
"""How long a request waits for its turn at the database before it is answered 503."""


@dataclass(frozen=True)
class Services:
    """What the process opened once. `slots` are turns at the database: see `database_turn`.

    writer: for single statements that write, with connections of its own: a commit waits for the disk, and no read is
    to wait for it.
    """

    settings: Settings
    database: Database
    reader: Reader
    writer: Reader
    keys: KeyCheck
    store: ObjectStore
    feed: JobFeed
    slots: anyio.Semaphore
    streams: OpenStreams


def database_slots(settings: Settings) -> int:
    """Requests that may use the database at a time: its pool, less what the feed and the readiness probe take."""
    return max(1, 2 * settings.database.pool_size - CONCURRENT_READS - 1)


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


@asynccontextmanager
async def database_turn(services: Services) -> AsyncIterator[None]:
    """A turn at the database. Raises SQLAlchemy's TimeoutError when none comes in time.

    A request holds its connection across several steps in the thread pool. Did others wait for a connection in those
    threads meanwhile, none could finish: so they wait here, on the event loop, before they take a thread.
    """
    with anyio.move_on_after(SLOT_SECONDS) as waiting:
        await services.slots.acquire()
    if waiting.cancelled_caught:
        raise PoolTimeout
    try:
        yield
    finally:
        services.slots.release()


async def _session(services: ServicesDep) -> AsyncIterator[Session]:
    async with database_turn(services), contextmanager_in_threadpool(services.database.session()) as session:
        yield session


SessionDep = Annotated[Session, Depends(_session, scope="function")]
"""One transaction for the request. It is over before the answer is sent (`scope="function"`), so that a client who
reads 201 finds the thing there, and a commit that fails is answered 500."""


_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", bearerFormat="am_…", description="An API key of the workspace"
)


async def _principal(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Principal:
    # KeyedRoute has checked the key before the body was read; on any other route this is an error of ours.
    principal: Principal = request.state.principal
    return principal


PrincipalDep = Annotated[Principal, Depends(_principal)]


GivenJobId = Annotated[str, Path(description="id of a job", examples=["job_01k9zj4w8n2x0q5v7r3t6y1b4d"])]


def checked_job_id(job_id: str) -> str:
    """An id that the database can be asked for. Raises NotFound."""
    # PostgreSQL's text has no NUL, so such an id would be an error of the database and not what it is: unknown.
    if "\0" in job_id or len(job_id) > 64:  # noqa: PLR2004 - ids have 30 characters
        raise NotFound("There is no such job here.", code="job_not_found")
    return job_id


async def _job_id(job_id: GivenJobId) -> str:
    return checked_job_id(job_id)


JobIdDep = Annotated[str, Depends(_job_id)]
