"""The doors of a running platform: what a stranger, or a page of another site, can have of it, which is nothing."""

import json
import os
import socket
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from audiomill.operators.key import login_url, operator_key
from audiomill.platform.processes import platform_processes
from audiomill.platform.sockets import code_server_socket, supervisor_socket
from tests.fakes.another_user import as_nobody

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
        assert "__NEXT_DATA__" in page.text, "Dagster's page, not the login"
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


def test_another_user_reads_no_file(platform):
    """Every file and folder of the data directory, texts and outputs of customers among them."""
    platform.wait_for_end(platform.order("{}"))
    folder = platform.settings.data_dir
    paths = [str(path) for path in folder.rglob("*") if not path.is_symlink()]
    assert any("/store/" in path for path in paths)
    assert any("/logs/" in path for path in paths)

    def readable() -> list[str]:
        found = []
        for path in [str(folder), *paths]:
            try:
                os.listdir(path) if os.path.isdir(path) else os.close(os.open(path, os.O_RDONLY))  # noqa: PTH112, PTH208
            except (PermissionError, FileNotFoundError, NotADirectoryError):
                continue
            found.append(path)
        return found

    assert as_nobody(readable) == "done: []"


def test_another_user_runs_no_command(platform):
    """The sockets of the code server and of supervisor, and the database, which can run programs."""
    for path in (code_server_socket(platform.settings.data_dir), supervisor_socket(platform.settings.data_dir)):

        def reach(path: Path = path) -> None:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))

        reach()
        assert "PermissionError" in as_nobody(reach)
    url = str(platform.database.url)
    assert "ermission denied" in as_nobody(lambda: psycopg.connect(url))


def test_nothing_else_listens(platform):
    """The API and the webserver, which ask for a key. No port of the code server, nor of the database."""
    listening = {
        connection.laddr.port
        for process in platform_processes(platform.settings.data_dir)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {platform.settings.api.port, platform.settings.dagster.port}
