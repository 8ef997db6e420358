"""The API as a client uses it: announce, send, order, follow, fetch. What a command shows is elsewhere.

Bytes are streamed both ways. The key is sent to the API only, never to a signed URL.
"""

import json
import mimetypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urljoin

import httpx

from audiomill.errors import AudiomillError, CustomerError, NotFound, OperatorError, Unauthorized

ATTEMPTS = 5
PAUSE_SECONDS = 0.5
CHUNK_BYTES = 256 * 1024
ENDED = frozenset({"complete", "failed", "cancelled"})
_BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class JobEvent:
    """One event of a job's stream. `progress` is the share done, 0 to 1."""

    job_id: str
    seq: int
    state: str
    stage: str
    progress: float
    reason: str | None


class ApiClient:
    """One workspace's view of one installation. Safe to use from several threads.

    Raises CustomerError with the API's own sentence and code; OperatorError when the API does not answer.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._api = httpx.Client(
            base_url=self.base_url, headers={"Authorization": f"Bearer {key}"}, timeout=httpx.Timeout(30, read=60)
        )
        # Without the key: a signed URL is its own permission, and may lead to somebody else's server.
        self._store = httpx.Client(timeout=httpx.Timeout(30, read=300, write=300))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()
        self._store.close()

    def upload(self, path: Path, sent: Callable[[int], None] = lambda _: None) -> str:
        """Send a file; returns the upload's id. `sent` is called with the bytes of each piece (negative: again)."""
        size = path.stat().st_size
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        body = {"filename": path.name, "content_type": media_type, "size_bytes": size}
        ticket = self._call("POST", "/v1/uploads", json=body)
        headers = {**ticket["headers"], "Content-Length": str(size)}

        def put() -> httpx.Response:
            done = 0

            def pieces() -> Iterator[bytes]:
                nonlocal done
                with path.open("rb") as file:
                    while piece := file.read(CHUNK_BYTES):
                        yield piece
                        done += len(piece)
                        sent(len(piece))

            try:
                response = self._store.put(urljoin(self.base_url, ticket["url"]), content=pieces(), headers=headers)
            except httpx.TransportError:
                sent(-done)
                raise
            if response.status_code in _BUSY:
                sent(-done)
            return response

        _checked(_tried(put, f"{path.name} cannot be sent"))
        return str(ticket["id"])

    def order(
        self, recipe: str, parameters: dict[str, Any], inputs: Sequence[dict[str, str]], idempotency_key: str
    ) -> list[str]:
        """Order a recipe for inputs; job ids in their order. The same key with the same order gives the same jobs."""
        body = {"recipe": recipe, "parameters": parameters, "inputs": list(inputs)}
        answer = self._call("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": idempotency_key})
        return [str(job["id"]) for job in answer["jobs"]]

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as the API shows it."""
        return self._call("GET", f"/v1/jobs/{quote(job_id)}")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job."""
        return self._call("DELETE", f"/v1/jobs/{quote(job_id)}")

    def follow(self, job_id: str, on_event: Callable[[JobEvent], None]) -> str:
        """Call `on_event` with what happened and happens until the job ends; returns its last state.

        A broken stream is taken up again after the last event seen.
        """
        seen, state, silent_failures = 0, "queued", 0
        while state not in ENDED:
            before = seen
            with suppress(httpx.TransportError):
                for event in self._events(job_id, seen):
                    seen, state = event.seq, event.state
                    on_event(event)
            if state in ENDED:
                break
            # The stream ended without the job: a restart of the API, or the job ended before we asked (204).
            silent_failures = 0 if seen > before else silent_failures + 1
            state = str(self.job(job_id)["state"])
            time.sleep(min(PAUSE_SECONDS * 2**silent_failures, 10))
        return state

    def download(self, job_id: str, name: str, target: Path) -> None:
        """Fetch an output to a file; an interrupted one leaves no half file."""
        location = f"/v1/jobs/{quote(job_id)}/outputs/{quote(name)}"
        partial = target.with_name(f".{target.name}.partial")

        def fetch() -> httpx.Response:
            # Asked for anew each time: the signed URL lives for minutes.
            redirect = _checked(self._api.get(location, follow_redirects=False))
            url = urljoin(self.base_url, redirect.headers["Location"])
            with self._store.stream("GET", url) as response:
                if response.is_success:
                    with partial.open("wb") as file:
                        for piece in response.iter_bytes(CHUNK_BYTES):
                            file.write(piece)
                else:
                    response.read()
                return response

        try:
            _checked(_tried(fetch, f"{name} cannot be fetched"))
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _events(self, job_id: str, after: int) -> Iterator[JobEvent]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._api.stream("GET", f"/v1/jobs/{quote(job_id)}/events", headers=headers) as response:
            if not response.is_success:
                response.read()
                if response.status_code in _BUSY:
                    return
                _checked(response)
            # Only `data` is of interest: it says all that `id` and `event` say.
            for line in response.iter_lines():
                if line.startswith("data:"):
                    data = json.loads(line.removeprefix("data:"))
                    yield JobEvent(**{name: data[name] for name in JobEvent.__dataclass_fields__})

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's options
        response = _tried(
            lambda: self._api.request(method, path, **options), f"The API at {self.base_url} does not answer"
        )
        answer = _checked(response).json()
        if not isinstance(answer, dict):
            raise OperatorError(f"The API at {self.base_url} answered {path} with something else than an object.")
        return answer


def _tried(call: Callable[[], httpx.Response], what: str) -> httpx.Response:
    """Repeat what is safe to repeat: every call here is, orders by their Idempotency-Key."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = call()
        except httpx.TransportError as error:
            if attempt == ATTEMPTS:
                raise OperatorError(f"{what}: {error or type(error).__name__}.", code="api_unreachable") from error
        else:
            if response.status_code not in _BUSY or attempt == ATTEMPTS:
                return response
        time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def _checked(response: httpx.Response) -> httpx.Response:
    """The response, or the problem that it is."""
    if response.is_success or response.is_redirect:
        return response
    try:
        problem = response.json()
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        detail, code = f"{response.request.url.host} answered {response.status_code}.", "unexpected_answer"
    kinds: dict[int, type[AudiomillError]] = {401: Unauthorized, 404: NotFound}
    other = CustomerError if response.is_client_error else OperatorError
    raise kinds.get(response.status_code, other)(detail, code=code)
