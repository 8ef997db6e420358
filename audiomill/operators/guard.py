"""The guard before Dagster's webserver, as ASGI middleware: who is let through, and what is not passed on at all.

Dagster's webserver asks nobody who he is, answers to any Host, takes mutations by GET and from any Origin: a page that
an operator happens to open could stop the sensors. Nothing of Dagster or of a web framework is known here.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from audiomill.errors import ConfigurationError
from audiomill.operators.key import SESSION_SECONDS, Sessions, operator_key, session_cookie
from audiomill.operators.pages import going_on, login_page, logout_page
from audiomill.operators.tries import Tries
from audiomill.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
_Refusal = tuple[int, str] | tuple[int, str, tuple[bytes, bytes]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_READING = frozenset({"GET", "HEAD"})
_FORM_BYTES = 8192
LOGIN_SECONDS = 10.0
"""From the end of a login's head until its body is whole: the server bounds the time of heads only."""

_LOGIN = "/login"
_LOGOUT = "/logout"
_GRAPHQL = "/graphql"


@dataclass(frozen=True)
class Policy:
    """What the guard goes by."""

    sessions: Sessions
    hosts: frozenset[str]
    """Names under which it may be asked for: a name of somebody else's that leads here is not ours."""
    origin: str | None
    """Of the public address, where a proxy does not pass the Host on."""
    identity_header: str | None
    cookie: str
    secure: bool


def require_public_address(settings: Settings) -> None:
    """Raises ConfigurationError where the webserver would listen beyond this machine under no name of its own."""
    if settings.dagster.host not in LOOPBACK and settings.dagster.public_url is None:
        raise ConfigurationError(
            f"AUDIOMILL_DAGSTER__HOST is {settings.dagster.host}, so others can reach Dagster's webserver: set "
            "AUDIOMILL_DAGSTER__PUBLIC_URL to the address that operators use (https://…)."
        )


def policy_of(settings: Settings) -> Policy:
    """The guard's policy. Raises ConfigurationError as `require_public_address` does."""
    require_public_address(settings)
    dagster = settings.dagster
    public = urlsplit(settings.dagster_ui_url)
    names = {*LOOPBACK, *dagster.allowed_hosts, *([public.hostname] if public.hostname else [])}
    return Policy(
        sessions=Sessions(operator_key(settings)),
        hosts=frozenset(name.lower() for name in names),
        origin=f"{public.scheme}://{public.netloc}",
        identity_header=dagster.identity_header.lower() if dagster.identity_header else None,
        cookie=session_cookie(settings),
        secure=public.scheme == "https",
    )


class Guard:
    """Wraps an ASGI application."""

    def __init__(self, app: App, policy: Policy) -> None:
        self._app, self._policy = app, policy
        self._tries = Tries()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request = _Request(scope)
        if (refusal := self._refusal(request)) is not None:
            await _refuse(scope, send, *refusal)
        elif request.path == _LOGIN and scope["type"] == "http":
            await self._login(scope, request, receive, send)
        elif request.path == _LOGOUT and scope["type"] == "http":
            await self._logout(request, send)
        elif self._known(request):
            await self._app(scope, receive, send)
        elif request.wants_page:
            target = request.path + (f"?{request.query}" if request.query else "")
            await _answer(send, 401, login_page(_local(target)))
        else:
            await _refuse(scope, send, 401, "Operators only: send `Authorization: Bearer <operator key>`.")

    def _refusal(self, request: "_Request") -> _Refusal | None:
        """Why it is not for us or not from us, whoever sends it."""
        if _hostname(request.host) not in self._policy.hosts:
            return 421, "This name is not served here. Operators name it in AUDIOMILL_DAGSTER__ALLOWED_HOSTS."
        # Before the key is looked at, for any answer beyond this one tells whether it is right.
        if request.brings_key and (refusal := self._wrong_too_often(request)) is not None:
            return refusal
        changing = request.method not in _READING
        if changing and not self._from_here(request):
            return 403, "This came from a page of another site."
        if request.path.rstrip("/") == _GRAPHQL and not changing and request.query:
            return 405, "GraphQL is asked by POST."
        return None

    def _wrong_too_often(self, request: "_Request") -> _Refusal | None:
        seconds = self._tries.seconds_to_wait(request.address)
        sentence = f"Too many wrong keys came from this address. Try again in {seconds} seconds."
        return (429, sentence, (b"retry-after", str(seconds).encode())) if seconds else None

    def _from_here(self, request: "_Request") -> bool:
        """Browsers say where a change or a socket comes from; programs that send the key need not."""
        origin = request.header("origin")
        if origin is None:
            return self._has_key(request)
        return origin == self._policy.origin or (
            urlsplit(origin).netloc == request.host and urlsplit(origin).scheme in {"http", "https"}
        )

    def _known(self, request: "_Request") -> bool:
        if self._has_key(request):
            return True
        if self._policy.identity_header is not None and request.header(self._policy.identity_header):
            return True
        token = request.cookie(self._policy.cookie)
        return token is not None and self._policy.sessions.is_session(token)

    def _has_key(self, request: "_Request") -> bool:
        scheme, _, given = (request.header("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and self._is_key(request, given.strip())

    def _is_key(self, request: "_Request", given: str) -> bool:
        right = self._policy.sessions.is_key(given)
        if not right:
            self._tries.was_wrong(request.address)
        return right

    async def _login(self, scope: Message, request: "_Request", receive: Receive, send: Send) -> None:
        if request.method == "POST":
            try:
                async with asyncio.timeout(LOGIN_SECONDS):
                    body = await _body(receive)
            except TimeoutError:
                await _refuse(scope, send, 408, "The login came too slowly.", (b"connection", b"close"))
                return
            form = parse_qs(body.decode(errors="replace"))
            wanted = _local(form.get("next", ["/"])[0])
            # Asked again: others may have been wrong since this one's head.
            if (refusal := self._wrong_too_often(request)) is not None:
                await _refuse(scope, send, *refusal)
            elif self._is_key(request, form.get("key", [""])[0].strip()):
                await self._let_in(send, wanted)
            else:
                await _answer(send, 401, login_page(wanted, "This is not the operator key of this installation."))
            return
        token = parse_qs(request.query).get("token", [None])[0]
        if self._known(request):
            await _answer(send, 200, going_on("/"))
        elif token is None:
            await _answer(send, 200, login_page("/"))
        elif self._policy.sessions.use_link(token):
            await self._let_in(send, "/")
        else:
            await _answer(send, 401, login_page("/", "This link was used before, or is too old."))

    async def _logout(self, request: "_Request", send: Send) -> None:
        """A page that asks, and the end of the session in this browser."""
        if request.method != "POST":
            await _answer(send, 200, logout_page())
            return
        gone = f"{self._policy.cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        gone += "; Secure" if self._policy.secure else ""
        await _answer(send, 200, login_page("/", "You are logged out of this browser."), (b"set-cookie", gone.encode()))

    async def _let_in(self, send: Send, wanted: str) -> None:
        cookie = f"{self._policy.cookie}={self._policy.sessions.new_session()}; Path=/; HttpOnly; SameSite=Strict"
        cookie += f"; Max-Age={SESSION_SECONDS}" + ("; Secure" if self._policy.secure else "")
        await _answer(send, 200, going_on(wanted), (b"set-cookie", cookie.encode()))


class _Request:
    """A scope, read."""

    def __init__(self, scope: Message) -> None:
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.path = str(scope["path"])
        self.query = bytes(scope.get("query_string", b"")).decode("latin-1")
        # A websocket begins as a GET, and then carries changes.
        self.method = str(scope.get("method", "WEBSOCKET"))
        self.host = self.header("host") or ""
        client = scope.get("client")
        self.address = str(client[0]) if client else ""

    def header(self, name: str) -> str | None:
        """A header that may stand once; the empty string where somebody sent it twice."""
        found = [value for key, value in self._headers if key == name.encode()]
        if not found:
            return None
        return found[0].decode("latin-1") if len(found) == 1 else ""

    @property
    def brings_key(self) -> bool:
        """Whether it asks to be let in by a key."""
        bearer = (self.header("authorization") or "").lower().startswith("bearer ")
        return bearer or (self.path == _LOGIN and self.method == "POST")

    @property
    def wants_page(self) -> bool:
        """Whether a person waits for a page."""
        return self.method == "GET" and "text/html" in (self.header("accept") or "")

    def cookie(self, name: str) -> str | None:
        try:
            found = SimpleCookie(self.header("cookie") or "").get(name)
        except CookieError:
            return None
        return None if found is None else found.value


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _local(target: str) -> str:
    """A path of ours, never an address of another site (`//evil`, `/\\evil`)."""
    good = target.startswith("/") and target[1:2] not in {"/", "\\"} and target.isprintable()
    return target if good else "/"


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        body += bytes(message.get("body", b""))
        if len(body) > _FORM_BYTES:
            return b""
        if not message.get("more_body"):
            return body


async def _refuse(scope: Message, send: Send, status: int, sentence: str, *more: tuple[bytes, bytes]) -> None:
    if scope["type"] == "websocket":
        # Closed before it is accepted: the server answers the handshake with 403.
        await send({"type": "websocket.close", "code": 1008})
        return
    await _answer(send, status, f"{sentence}\n".encode(), *more, media_type=b"text/plain; charset=utf-8")


async def _answer(
    send: Send, status: int, body: bytes, *more: tuple[bytes, bytes], media_type: bytes = b"text/html; charset=utf-8"
) -> None:
    headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"same-origin"),
        (b"x-content-type-options", b"nosniff"),
        (
            b"content-security-policy",
            b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
