"""The signed URLs of the local store. With S3 the bytes never come here, and these addresses do not exist.

The token is the permission: no API key is asked for.
"""

import hashlib
from contextlib import AbstractContextManager
from typing import cast

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.answers import problems
from api.dependencies import Services, ServicesDep, database_turn
from api.objects.answers import ObjectResponse
from audiomill.errors import BadInput, BadRequest
from audiomill.jobs.overwriting import permit_writing
from audiomill.storage.grants import Grant
from audiomill.storage.http_headers import content_disposition
from audiomill.storage.local import LocalStore, ObjectWriter

router = APIRouter(prefix="/v1/objects", tags=["objects"])

_BUFFER_BYTES = 1024 * 1024
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes)"}}
_PART = {"description": "The range that was asked for", "content": _BYTES}


def _store(services: Services) -> LocalStore:
    return cast("LocalStore", services.store)  # the router is there for no other store


@router.head("/{token}", response_class=ObjectResponse, name="probe_an_object", responses=problems(403, 404))
@router.get(
    "/{token}",
    response_class=ObjectResponse,
    responses={200: {"content": _BYTES}, 206: _PART, **problems(403, 404, 416)},
)
def read_an_object(token: str, services: ServicesDep) -> ObjectResponse:
    """The bytes of an object, whole or by `Range`."""
    grant = _store(services).open_token(token, "GET")
    headers = {"Cache-Control": "private, no-store"}
    if grant.filename is not None:
        headers["Content-Disposition"] = content_disposition(grant.filename)
    return ObjectResponse(
        _store(services).path_for(grant.key), media_type=grant.media_type or "application/octet-stream", headers=headers
    )


@router.put(
    "/{token}",
    status_code=204,
    responses=problems(403, 404, 408, 409, 413, 415, 422),
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
)
async def write_an_object(token: str, request: Request, services: ServicesDep) -> Response:
    """Write the bytes of an upload: as many and of the media type as was announced.

    The object appears whole or not at all. It may be written again until a job uses it.
    """
    store = _store(services)
    grant = store.open_token(token, "PUT")
    _check_headers(request, grant)
    async with database_turn(services):
        await run_in_threadpool(_check_unused, services, grant.key)
    writing = store.writing(grant.key)
    file = await run_in_threadpool(writing.__enter__)
    try:
        sha256 = await _receive(request, file, grant)
        async with database_turn(services):
            await run_in_threadpool(_put_in_place, services, grant.key, writing, sha256)
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(writing.__exit__, type(error), error, error.__traceback__)
        raise
    return Response(status_code=204)


@router.options("/{token}", status_code=204)
async def list_methods_of_an_object(token: str) -> Response:  # noqa: ARG001 - the same for every token
    """The methods that signed URLs may allow."""
    return Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS, PUT"})


def _check_unused(services: Services, key: str) -> None:
    with services.database.session() as session:
        permit_writing(session, key)


def _put_in_place(services: Services, key: str, writing: AbstractContextManager[ObjectWriter], sha256: str) -> None:
    # The lock on the upload's row is held until the file has its name: no job can come to use it in between.
    with services.database.session() as session:
        upload = permit_writing(session, key)
        writing.__exit__(None, None, None)
        # Hashed as it came, so that no order has to read it again; the signature says of which bytes that is.
        upload.signature, upload.sha256 = services.store.stat(key).signature, sha256


def _check_headers(request: Request, grant: Grant) -> None:
    if "content-range" in request.headers:
        # RFC 9110, section 14.5: a server that does not know partial PUT must refuse it, not store a part as the whole.
        raise BadRequest(
            "A part of an object cannot be written. Send all of its bytes at once, without Content-Range.",
            code="partial_put",
        )
    announced = request.headers.get("content-length")
    if announced is not None and int(announced) != grant.size_bytes:
        raise _size_mismatch(int(announced), grant)
    media_type = request.headers.get("content-type", "")
    if (
        grant.media_type is not None
        and media_type.replace(" ", "").lower() != grant.media_type.replace(" ", "").lower()
    ):
        raise BadInput(
            f"The bytes were announced as {grant.media_type!r} and are sent as {media_type[:127]!r}. "
            "Send the headers that came with the URL.",
            code="media_type_mismatch",
        )


def _size_mismatch(size_bytes: int, grant: Grant) -> BadInput:
    return BadInput(
        f"{grant.size_bytes:,} bytes were announced and {size_bytes:,} are sent. Announce the upload again.",
        code="size_mismatch",
    )


async def _receive(request: Request, file: ObjectWriter, grant: Grant) -> str:
    """Write the body in pieces that are worth a thread, and return its SHA-256.

    Raises BadInput when it is longer or shorter than announced.
    """
    expected = grant.size_bytes or 0
    size = 0
    pending = bytearray()
    digest = hashlib.sha256()

    def write(piece: bytes) -> None:
        digest.update(piece)
        file.write(piece)

    async for chunk in request.stream():
        size += len(chunk)
        if size > expected:
            raise _size_mismatch(size, grant)
        pending += chunk
        if len(pending) >= _BUFFER_BYTES:
            await run_in_threadpool(write, bytes(pending))
            pending.clear()
    if size != expected:
        raise _size_mismatch(size, grant)
    await run_in_threadpool(write, bytes(pending))
    return digest.hexdigest()
