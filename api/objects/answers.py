"""Serving a file with ranges, and its errors as problems. What may be read is decided in `endpoints.py`."""

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from api.problems import problem

_CODES = {400: "bad_range", 416: "range_not_satisfiable"}
_DETAILS = {
    400: "The Range header cannot be read. Send `bytes=first-last`, or none.",
    416: "The range lies outside of the object, whose size is in `Content-Range`.",
}


class ObjectResponse(FileResponse):
    """Starlette's FileResponse; where that answers 400 or 416 in plain text, this answers with problem details."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, the ranges, or a problem."""
        refused = False

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in _CODES:
                refused = True
                status = message["status"]
                headers = {
                    name.decode().title(): value.decode()
                    for name, value in message["headers"]
                    if name == b"content-range"
                }
                answer = problem(scope, status=status, code=_CODES[status], detail=_DETAILS[status], headers=headers)
                await answer(scope, receive, send)
            elif not refused:
                await send(message)

        await super().__call__(scope, receive, sending)
