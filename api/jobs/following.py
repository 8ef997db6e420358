"""GET /v1/jobs/{id}/events: what happened to a job and what happens, as server-sent events."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.answers import keyed
from api.dependencies import JobIdDep, PrincipalDep, Services, ServicesDep
from api.jobs.schemas import JobEvent
from api.jobs.streams import while_allowed
from api.routes import KeyedRoute
from audiomill.errors import BadRequest
from audiomill.jobs.events.following import Topic

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyedRoute)

HEARTBEAT_SECONDS = 15
"""A comment so often, so that proxies keep the connection and a client that is gone is noticed."""

SEND_SECONDS = 30
"""A client that takes nothing for so long is cut off; it comes back with its Last-Event-ID."""

RECONNECT_MILLISECONDS = 2000

_EXAMPLE = JobEvent.model_config["json_schema_extra"]["examples"][0]  # type: ignore[index]

_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string", "description": "the state"},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "a JobEvent"},
    },
    "required": ["id", "event", "data"],
}


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Events from the one after `Last-Event-ID` on. Each has the number as `id`, the state as "
            "`event`, a JobEvent as `data`. The stream ends after the event that ends the job.",
            "content": {
                "text/event-stream": {
                    # The whole as it travels, and each event as a client's parser gives it.
                    "schema": {"anyOf": [{"type": "string"}, _EVENT]},
                    "example": f"id: 3\r\nevent: running\r\ndata: {json.dumps(_EXAMPLE)}\r\n\r\n",
                }
            },
        },
        204: {"description": "The job has ended and there is nothing after `Last-Event-ID`: do not reconnect"},
        **keyed(404, 429),
    },
)
async def follow_a_job(
    request: Request,
    job_id: JobIdDep,
    principal: PrincipalDep,
    services: ServicesDep,
    last_event_id: Annotated[
        str | None,
        Header(description="the `id` of the last event that you have", json_schema_extra={"pattern": "^[0-9]{0,9}$"}),
    ] = None,
) -> Response:
    """Follow a job: first what has happened already, then what happens, as it happens.

    The stream ends when its key is revoked.
    """
    after = _number(last_event_id)
    topic = await services.feed.topic(workspace_id=principal.workspace_id, job_id=job_id, after=after)
    if topic.ended and after >= topic.seq:
        return Response(status_code=204)  # tells an EventSource to stop
    services.streams.refuse_more(principal.workspace_id)
    return EventSourceResponse(
        _stream(services, topic, after, request.state.check_key),
        ping=HEARTBEAT_SECONDS,
        ping_message_factory=lambda: ServerSentEvent(comment="still here"),
        send_timeout=SEND_SECONDS,
    )


async def _stream(
    services: Services, topic: Topic, after: int, check_key: Callable[[], Awaitable[object]]
) -> AsyncIterator[ServerSentEvent]:
    with services.streams.one(topic.workspace_id):
        yield ServerSentEvent(comment="following", retry=RECONNECT_MILLISECONDS)
        async for event in while_allowed(services.feed.follow(topic, after), check_key):
            data = JobEvent.model_validate(event).model_dump_json()
            yield ServerSentEvent(data, id=str(event.seq), event=event.state)


def _number(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 10):  # noqa: PLR2004
        raise BadRequest(
            "The Last-Event-ID is not the id of an event. Send the last one that you got, or none.",
            code="bad_last_event_id",
        )
    return int(last_event_id)
