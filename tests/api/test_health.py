"""Probes, and what happens when the database or the store is away or all its connections are taken."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from api.app import create_app
from audiomill.accounts.keys import create_key
from audiomill.accounts.workspaces import ensure_workspace
from audiomill.database.connection import Database
from audiomill.settings import Settings
from audiomill.storage.factory import local_root

from .conftest import bound, serving


@pytest.fixture
def own_settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The module's database through a pool of one, and a store of its own."""
    database = settings.database.model_copy(update={"pool_size": 1})
    return settings.model_copy(update={"database": database, "data_dir": tmp_path_factory.mktemp("own")})


@pytest.fixture
def own_server(own_settings: Settings) -> Iterator[str]:
    with bound() as listening, serving(create_app(own_settings), listening) as address:
        yield address


def test_ready_when_all_is_there_and_says_what_is_not(own_server: str, own_settings: Settings) -> None:
    assert httpx.get(f"{own_server}/readyz").json() == {"status": "ok"}
    shutil.rmtree(local_root(own_settings))
    refused = httpx.get(f"{own_server}/readyz")
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert "store" in refused.json()["detail"]
    assert "database" not in refused.json()["detail"]
    assert refused.headers["Retry-After"]
    assert httpx.get(f"{own_server}/healthz").status_code == 200


def test_without_a_database_the_api_starts_and_says_so(own_settings: Settings) -> None:
    with bound() as nobody:  # bound and not listening: connections are refused
        url = f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/nothing"
        away = own_settings.model_copy(update={"database": own_settings.database.model_copy(update={"url": url})})
        with bound() as listening, serving(create_app(away), listening) as address:
            assert httpx.get(f"{address}/healthz").status_code == 200
            assert "database" in httpx.get(f"{address}/readyz").json()["detail"]
            refused = httpx.get(f"{address}/v1/jobs", headers={"Authorization": "Bearer am_" + "A" * 43})
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            assert refused.headers["Retry-After"]
            assert "127.0.0.1" not in refused.text


def test_a_crowd_on_a_pool_of_one_is_served_in_turn(own_server: str, database: Database) -> None:
    """More requests than threads and connections must not wait for each other for ever."""
    with database.session() as session:
        ensure_workspace(session, "crowd")
        key = create_key(session, workspace_id="crowd", name="tests").plaintext
    limits = httpx.Limits(max_connections=100)
    with (
        httpx.Client(
            base_url=own_server, headers={"Authorization": f"Bearer {key}"}, timeout=60, limits=limits
        ) as client,
        ThreadPoolExecutor(100) as pool,
    ):
        statuses = list(pool.map(lambda _: client.get("/v1/jobs").status_code, range(200)))
    assert statuses == [200] * 200


def test_a_database_that_ends_all_connections_is_found_again(own_server: str, database: Database) -> None:
    assert httpx.get(f"{own_server}/readyz").status_code == 200
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert httpx.get(f"{own_server}/readyz").status_code == 200
