"""The guard before Dagster's webserver, over a stand-in that notes what reaches it."""

import asyncio

import httpx
import pytest

from audiomill.errors import ConfigurationError
from audiomill.operators import tries
from audiomill.operators.guard import Guard, policy_of
from audiomill.operators.key import LINK_SECONDS, SESSION_SECONDS, Sessions, login_url, operator_key
from audiomill.settings import Settings

KEY = "amop_of-a-test-only"
HERE = "http://127.0.0.1:3000"
BEARER = {"Authorization": f"Bearer {KEY}"}


class Webserver:
    """What Dagster's webserver would do: anything, for anyone."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope, receive, send):
        self.reached.append(f"{scope.get('method', scope['type'])} {scope['path']}")
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the UI"})


def settings_of(tmp_path, **dagster):
    return Settings(data_dir=tmp_path, dagster={"operator_key": KEY, **dagster})


class Browser:
    """Asks the guard; keeps cookies."""

    def __init__(self, settings) -> None:
        self.server = Webserver()
        self.guard = Guard(self.server, policy_of(settings))
        self.cookies = httpx.Cookies()

    def ask(self, method, path, headers=None, base=HERE, **options):
        async def asked():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self.guard), base_url=base, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, headers=headers, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asked())

    def log_in(self, key=KEY, **form):
        return self.ask("POST", "/login", {"Origin": HERE}, data={"key": key, **form})

    def websocket(self, headers):
        sent = []

        async def opened():
            async def send(message):
                sent.append(message)

            scope = {
                "type": "websocket",
                "path": "/graphql",
                "query_string": b"",
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            }
            await self.guard(scope, None, send)

        asyncio.run(opened())
        return sent[0]["type"]


@pytest.fixture
def browser(tmp_path):
    return Browser(settings_of(tmp_path))


@pytest.mark.parametrize("path", ["/", "/graphql", "/server_info", "/logs/x", "/download_debug/x", "/asset-groups"])
def test_nothing_is_passed_on_for_a_stranger(browser, path):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert browser.ask(method, path, {"Origin": HERE}).status_code == 401
    assert browser.server.reached == []


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer é"]
)
def test_wrong_keys(browser, header):
    assert browser.ask("GET", "/server_info", {"Authorization": header.encode()}).status_code == 401
    assert browser.server.reached == []


def test_programs_come_in_by_the_key(browser):
    assert browser.ask("POST", "/graphql", BEARER, json={"query": "{ version }"}).status_code == 200
    assert browser.server.reached == ["POST /graphql"]


def test_a_person_logs_in_by_the_form_and_goes_where_they_wanted(browser):
    page = browser.ask("GET", "/runs?view=all", {"Accept": "text/html"})
    assert page.status_code == 401
    assert 'value="/runs?view=all"' in page.text
    wrong = browser.log_in("guess")
    assert wrong.status_code == 401
    assert "not the operator key" in wrong.text
    assert not browser.cookies
    welcome = browser.log_in(next="/runs?view=all")
    assert "url=/runs?view=all" in welcome.text
    cookie = welcome.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age"))
    assert KEY not in cookie
    assert browser.ask("GET", "/runs").text == "the UI"


def test_cookie_is_secure_where_the_address_is(tmp_path):
    browser = Browser(settings_of(tmp_path, public_url="https://dagster.example.org"))
    base = "https://dagster.example.org"
    answer = browser.ask("POST", "/login", {"Origin": base}, base=base, data={"key": KEY})
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "x"])
def test_login_leads_to_no_other_site(browser, target):
    assert "url=/" in browser.log_in(next=target).text
    assert "evil" not in browser.log_in(next=target).text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:3001", "", f"{HERE}.evil.example"])
def test_another_site_s_page_changes_nothing(browser, origin):
    browser.log_in()
    assert browser.ask("POST", "/graphql", {"Origin": origin}, json={}).status_code == 403
    assert browser.ask("POST", "/graphql", json={}).status_code == 403, "a browser always says its origin"
    assert browser.log_in().status_code == 200
    assert browser.ask("POST", "/login", {"Origin": origin}, data={"key": KEY}).status_code == 403
    assert browser.server.reached == []


def test_no_graphql_by_get(browser):
    browser.log_in()
    for path in ("/graphql?query=mutation{x}", "/graphql/?query={x}", "/graphql?x"):
        assert browser.ask("GET", path).status_code == 405
        assert browser.ask("GET", path, {"Accept": "text/html"}).status_code == 405
    assert browser.ask("GET", "/graphql", {"Accept": "text/html"}).status_code == 200, "the playground's page"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_names_that_are_not_ours_are_not_served(browser, host):
    """A name of somebody else's that leads to this machine makes their page ours, for a browser."""
    assert browser.ask("GET", "/", {**BEARER, "Host": host}).status_code == 421
    assert browser.server.reached == []


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1", "[::1]:3000", "LOCALHOST", "dagster.example.org"])
def test_our_names_are_served(tmp_path, host):
    browser = Browser(settings_of(tmp_path, allowed_hosts=["dagster.example.org"]))
    assert browser.ask("GET", "/", {**BEARER, "Host": host}).status_code == 200


def test_websocket(browser):
    browser.log_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    good = {"Host": "127.0.0.1:3000", "Origin": HERE, "Cookie": cookie}
    assert browser.websocket(good) == "websocket.accept"
    for bad in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Cookie": "a=b"}, {"Origin": "null"}):
        assert browser.websocket({**good, **bad}) == "websocket.close"
    del good["Origin"]
    assert browser.websocket(good) == "websocket.close"
    assert len(browser.server.reached) == 1


def test_a_link_logs_in_once(tmp_path):
    settings = settings_of(tmp_path)
    browser, other = Browser(settings), Browser(settings)
    link = login_url(settings)
    assert browser.ask("GET", link).status_code == 200
    assert browser.ask("GET", "/").text == "the UI"
    other.guard = browser.guard
    assert "used before" in other.ask("GET", link).text
    assert not other.cookies


def test_sessions_and_links_end(monkeypatch):
    import itsdangerous.timed

    sessions = Sessions(KEY)
    session, link = sessions.new_session(), sessions.new_link()
    assert not sessions.is_session(link), "a link is no session"
    assert not sessions.use_link(session)
    assert not Sessions("amop_new").is_session(session), "a new key ends them all"
    now = itsdangerous.timed.time.time()
    monkeypatch.setattr(itsdangerous.timed.time, "time", lambda: now + LINK_SECONDS + 2)
    assert not sessions.use_link(link)
    assert sessions.is_session(session)
    monkeypatch.setattr(itsdangerous.timed.time, "time", lambda: now + SESSION_SECONDS + 2)
    assert not sessions.is_session(session)


def test_identity_header_counts_only_where_it_is_set(tmp_path):
    header = {"X-Auth-Request-Email": "ann@example.org"}
    assert Browser(settings_of(tmp_path)).ask("GET", "/", header).status_code == 401
    proxied = Browser(settings_of(tmp_path, identity_header="X-Auth-Request-Email"))
    assert proxied.ask("GET", "/", header).status_code == 200
    assert proxied.ask("GET", "/").status_code == 401
    assert proxied.ask("GET", "/", {**header, "Host": "evil.example"}).status_code == 421
    evil = {**header, "Origin": "http://evil.example"}
    assert proxied.ask("POST", "/graphql", evil, json={}).status_code == 403


def test_it_does_not_listen_for_others_without_a_public_address(tmp_path):
    with pytest.raises(ConfigurationError, match="AUDIOMILL_DAGSTER__PUBLIC_URL"):
        policy_of(settings_of(tmp_path, host="0.0.0.0"))
    policy_of(settings_of(tmp_path, host="0.0.0.0", public_url="https://dagster.example.org"))


def test_key_is_made_once_and_private(tmp_path):
    settings = Settings(data_dir=tmp_path)
    assert operator_key(settings) == operator_key(settings)
    assert (tmp_path / "keys" / "operator-key").stat().st_mode & 0o077 == 0
    assert operator_key(settings) not in login_url(settings)


def test_who_is_wrong_about_the_key_again_and_again_is_not_listened_to(browser, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(tries.time, "monotonic", lambda: now[0])
    assert browser.log_in().status_code == 200
    statuses: list[int] = []
    for number in range(tries.WRONG_KEYS):
        wrong = browser.log_in("amop_wrong") if number % 2 else browser.ask("GET", "/", {"Authorization": "Bearer x"})
        statuses.append(wrong.status_code)
    # A wrong key beside a session changes nothing for the session, and counts.
    assert statuses == [200, 401] * (tries.WRONG_KEYS // 2)
    refused = browser.log_in()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "61")
    assert browser.ask("GET", "/runs", BEARER).status_code == 429
    # Who is logged in goes on.
    assert browser.ask("GET", "/runs").text == "the UI"
    now[0] += tries.WINDOW_SECONDS + 1
    assert browser.ask("GET", "/runs", BEARER).text == "the UI"


def test_a_person_logs_out(browser):
    browser.log_in()
    assert browser.ask("GET", "/runs").text == "the UI"
    assert "Log out" in browser.ask("GET", "/logout").text
    assert browser.ask("GET", "/runs").text == "the UI"
    assert browser.ask("POST", "/logout", {"Origin": "https://evil.example"}).status_code == 403
    out = browser.ask("POST", "/logout", {"Origin": HERE})
    assert "logged out" in out.text
    assert browser.ask("GET", "/runs").status_code == 401
    assert "/logout" in out.text


def test_wrong_keys_of_programs_that_change_something_are_counted_out_too(browser):
    for _ in range(tries.WRONG_KEYS):
        assert browser.ask("POST", "/graphql", {"Authorization": "Bearer x"}, json={}).status_code == 403
    assert browser.ask("POST", "/graphql", {"Authorization": "Bearer x"}, json={}).status_code == 429
    assert browser.ask("POST", "/graphql", BEARER, json={}).status_code == 429, "else it would be told apart"
    assert browser.server.reached == []


def test_a_login_longer_than_a_login_is_not_read(browser):
    assert browser.log_in(padding="k" * 9000).status_code == 401
    assert browser.log_in(padding="k" * 7000).status_code == 200


def test_logins_that_are_begun_together_are_counted_out_too(browser):
    """Each was begun before any was wrong."""

    async def begun():
        all_here, waiting = asyncio.Event(), 0

        async def body():
            nonlocal waiting
            waiting += 1
            if waiting == tries.WRONG_KEYS + 5:
                all_here.set()
            await all_here.wait()
            yield b"key=amop_wrong"

        async with httpx.AsyncClient(transport=httpx.ASGITransport(browser.guard), base_url=HERE) as client:
            asked = (client.post("/login", headers={"Origin": HERE}, content=body()) for _ in range(15))
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

    assert asyncio.run(begun()) == [401] * tries.WRONG_KEYS + [429] * 5
