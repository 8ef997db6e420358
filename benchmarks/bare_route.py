"""The bare route that the API's `GET /v1/jobs/{id}` is held against: the same statement, by raw psycopg, under the same
server; no framework, no key, no checks. `uvicorn benchmarks.bare_route:app`; the workspace's id in `BARE_WORKSPACE`.
"""

import asyncio
import json
import os
from typing import Any

import psycopg
from psycopg.rows import dict_row

from audiomill.database.connection import database_url
from audiomill.database.reading import CONNECTIONS
from audiomill.jobs.reading import job_text
from audiomill.settings import get_settings

_connections: asyncio.LifoQueue[psycopg.AsyncConnection[dict[str, Any]]] = asyncio.LifoQueue()
_workspace_id = os.environ.get("BARE_WORKSPACE", "")
_HEADERS = [(b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
    """Any path is a job's id."""
    if scope["type"] == "lifespan":
        await receive()
        for _ in range(CONNECTIONS):
            url = database_url(get_settings())
            _connections.put_nowait(await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    connection = await _connections.get()
    try:
        values = {"workspace_id": _workspace_id, "job_id": scope["path"][1:]}
        row = await (await connection.execute(job_text(), values)).fetchone()
    finally:
        _connections.put_nowait(connection)
    body = json.dumps(row, default=str).encode()
    headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200 if row else 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
