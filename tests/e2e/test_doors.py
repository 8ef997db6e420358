"""The doors of a running platform: what a stranger, or a page of another site, can have of it, which is nothing."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from audiomill.operators.key import login_url, operator_key

pytestmark = [pytest.mark.e2e]
SUBSCRIPTION = "subscription { locationStateChangeEvents { event { eventType } } }"


def test_webserver_without_the_key_says_nothing(platform):
    for method, path in (("GET", "/server_info"), ("POST", "/graphql"), ("GET", "/runs"), ("GET", "/logs/x/out")):
        answer = httpx.request(method, platform.dagster_url + path, headers={"Origin": platform.dagster_url})
        assert answer.status_code == 401, path
        assert "dagster_version" not in answer.text


def test_operator_s_link_opens_the_ui_and_its_websocket(platform):
    with httpx.Client(base_url=platform.dagster_url) as browser:
        assert browser.get(login_url(platform.settings)).status_code == 200
        page = browser.get("/overview")
        assert page.status_code == 200
        assert "<title>Dagster</title>" in page.text
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    address = platform.dagster_url.replace("http", "ws") + "/graphql"

    def open_socket(**headers):
        return connect(address, subprotocols=["graphql-ws"], additional_headers=headers)

    with open_socket(Cookie=cookie, Origin=platform.dagster_url) as websocket:
        websocket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(websocket.recv(timeout=10)) == {"type": "connection_ack"}
        websocket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": SUBSCRIPTION}}))
    for refused in ({}, {"Cookie": cookie}, {"Cookie": cookie, "Origin": "http://evil.example"}):
        with pytest.raises(InvalidStatus):
            open_socket(**refused)


def test_a_mutation_by_get_is_refused_even_with_the_key(platform):
    headers = {"Authorization": f"Bearer {operator_key(platform.settings)}"}
    answer = httpx.get(f"{platform.dagster_url}/graphql", params={"query": "{ version }"}, headers=headers)
    assert answer.status_code == 405
