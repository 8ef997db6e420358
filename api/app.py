"""Assembly of the API: what is opened, which routers there are, what wraps them. No endpoint is here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from api import problems
from api.bodies import BodyLimit
from api.dependencies import Services, database_slots
from api.engines.endpoints import router as engines
from api.health.endpoints import router as health
from api.jobs.endpoints import direct as direct_jobs
from api.jobs.endpoints import router as jobs
from api.jobs.following import router as following
from api.jobs.lines import router as lines
from api.jobs.ordering import router as ordering
from api.jobs.streams import OpenStreams
from api.middleware import RequestContext
from api.objects.endpoints import router as objects
from api.openapi import DESCRIPTION, TAGS, document, operation_id
from api.receipt_keys.endpoints import router as receipt_keys
from api.recipes.endpoints import router as recipes
from api.routes import max_json_bytes
from api.uploads.endpoints import router as uploads
from audiomill.accounts.key_check import KeyCheck
from audiomill.database.connection import Database, listening_url
from audiomill.database.reading import Reader
from audiomill.jobs.events.following import JobFeed
from audiomill.jobs.events.listening import JobListener
from audiomill.jobs.events.replay import EventView, events_after
from audiomill.settings import Settings, get_settings
from audiomill.storage.factory import open_store


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API of an installation. Nothing is opened before its lifespan begins."""
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _opened(settings) as services:
            app.state.services = services
            yield

    # FastAPI's own pages load their scripts from a CDN, unpinned; these serve what came with the package.
    app = FastAPIOffline(
        title="audiomill",
        summary="Recordings and texts in; transcripts, voices and dubs out, each with a signed receipt.",
        description=DESCRIPTION,
        version="1",
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    problems.install(app)
    # In the order in which addresses are tried: what is asked most comes first.
    for router in (direct_jobs, jobs, lines, ordering, following, uploads, recipes, engines, receipt_keys, health):
        app.include_router(router)
    if settings.storage.kind == "local":
        app.include_router(objects)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, max_bytes=max_json_bytes(settings.limits), max_upload_bytes=settings.limits.max_bytes)
    if settings.api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Range"],
            expose_headers=["Idempotent-Replayed", "Link", "Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(RequestContext, https=settings.api_url.startswith("https:"))
    return app


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Services]:
    # Opening may start the embedded server, which takes a second.
    database = await asyncio.to_thread(Database.from_settings, settings)
    store = await asyncio.to_thread(open_store, settings)

    def read(workspace_id: str, job_id: str, seq: int) -> list[EventView]:
        with database.session() as session:
            return events_after(session, workspace_id=workspace_id, job_id=job_id, seq=seq)

    reader, writer = (Reader(database.url, prepared_statements=settings.database.prepared_statements) for _ in range(2))
    feed = JobFeed(read)
    listener = JobListener(listening_url(settings, database.url), on_change=feed.changed, on_gap=feed.gap)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(asyncio.to_thread, database.dispose)
        closing.push_async_callback(feed.close)
        listening = asyncio.create_task(listener.run(), name="job-listener")
        closing.push_async_callback(_ended, listening)
        closing.push_async_callback(reader.close)
        closing.push_async_callback(writer.close)
        slots = anyio.Semaphore(database_slots(settings))
        streams = OpenStreams(settings.api.event_streams_per_workspace)
        yield Services(settings, database, reader, writer, KeyCheck(reader), store, feed, slots, streams)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
