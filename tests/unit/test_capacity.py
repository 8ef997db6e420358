"""Connections: how many a platform needs, and that none hangs for longer than was said."""

import socket
import time

import psycopg
import pytest
from sqlalchemy import text

from audiomill.database.capacity import connections_needed, steady
from audiomill.database.checking import check_databases
from audiomill.database.connection import Database, dagster_database_url, database_url, listening_url
from audiomill.database.embedded import EmbeddedServer
from audiomill.errors import DatabaseUnavailable
from audiomill.settings import Settings


def with_(settings: Settings, **database: object) -> Settings:
    return settings.model_copy(update={"database": settings.database.model_copy(update=database)})


def test_every_url_has_the_limits_and_keeps_what_it_says_itself(settings: Settings) -> None:
    given = with_(settings, url="postgresql://u:p@h/d?connect_timeout=3", dagster_url="postgresql://u:p@h/e")
    assert database_url(given) == (
        "postgresql://u:p@h/d?connect_timeout=3&keepalives=1&keepalives_idle=15&keepalives_interval=5"
        "&keepalives_count=3&tcp_user_timeout=30000"
    )
    assert "tcp_user_timeout=30000" in dagster_database_url(given)
    assert steady(database_url(given), given) == database_url(given)


def test_who_listens_past_a_pooler_has_the_limits_too(settings: Settings) -> None:
    past = with_(settings, url="postgresql://u:p@pooler/d", direct_url="postgresql://u:p@h/d", silence_seconds=12)
    assert listening_url(past, "postgresql://u:p@pooler/d") == steady("postgresql://u:p@h/d", past)
    assert "tcp_user_timeout=12000" in listening_url(past, "postgresql://u:p@pooler/d")
    assert listening_url(settings, "postgresql://u:p@h/d") == "postgresql://u:p@h/d"


def test_both_drivers_take_the_limits(database: Database, settings: Settings) -> None:
    import psycopg2

    with database.session() as session:
        assert session.scalar(text("SELECT 1")) == 1
    psycopg2.connect(dagster_database_url(settings)).close()


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = Settings(
            database={
                "url": f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d",
                "dagster_url": "postgresql://u:p@127.0.0.1:1/e",
                "connect_timeout_seconds": 2,
            }
        )
        database = Database.from_settings(settings)
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable), database.session() as session:
            session.execute(text("SELECT 1"))
        assert time.monotonic() - began < 60  # without a limit it waits for ever
        database.dispose()


def test_the_embedded_server_lets_in_as_many_as_a_platform_needs(database_server: EmbeddedServer) -> None:
    with psycopg.connect(database_server.url("postgres")) as connection:
        (allowed,) = connection.execute("SELECT current_setting('max_connections')::int").fetchone() or (0,)
    assert allowed == connections_needed(Settings())


def test_more_runs_and_larger_pools_need_more(settings: Settings) -> None:
    more = settings.model_copy(update={"cpu": settings.cpu.model_copy(update={"gpu_runs": settings.cpu.gpu_runs + 1})})
    assert connections_needed(more) == connections_needed(settings) + 2 * settings.database.pool_size + 8
    assert connections_needed(with_(settings, pool_size=settings.database.pool_size + 1)) > connections_needed(settings)


def test_an_operators_own_server_with_too_few_connections_is_told_at_start(
    database: Database, settings: Settings
) -> None:
    """The module's server lets in as many as the default settings need, and no more."""
    assert check_databases(settings) is None
    with database.session() as session:
        there = session.scalar(text("SELECT current_setting('max_connections')::int"))
    more = settings.model_copy(update={"cpu": settings.cpu.model_copy(update={"cpu_runs": 40})})
    said = check_databases(more) or ""
    needed = connections_needed(more)
    assert f"lets in {there} connections" in said
    assert f"may open {needed} " in said
    assert f"max_connections = {needed}" in said
    assert check_databases(with_(more, direct_url="postgresql://u:p@h/d")) is None
