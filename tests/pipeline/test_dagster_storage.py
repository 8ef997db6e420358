"""Dagster's storage on one pool a process: what dagster.yaml names, against a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from dagster import DagsterInstance, RunsFilter
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import event, text

from audiomill.database.connection import dagster_database_url
from audiomill.platform.instance import DATABASE_VARIABLE, dagster_yaml, database_variable, write_instance
from audiomill.settings import DagsterSettings, Settings
from resources.dagster_pool import KEPT_CONNECTIONS, MOST_CONNECTIONS, dispose_pools
from resources.dagster_storage import PooledPostgresStorage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Dagster home as `audiomill up` writes it."""
    monkeypatch.setenv(DATABASE_VARIABLE, database_variable(settings.database.dagster_url or ""))
    yield write_instance(settings)
    dispose_pools()


@pytest.fixture
def ref(home: Path) -> InstanceRef:
    """What travels to the code server with every tick."""
    return InstanceRef.from_dir(str(home))


def backend(instance: DagsterInstance) -> int:
    """The server's process that serves the next query of this process."""
    assert isinstance(instance.run_storage, PostgresRunStorage)
    with instance.run_storage.connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def connections(settings: Settings) -> int:
    """What the server has open for Dagster's database, ours aside."""
    with psycopg.connect(settings.database.dagster_url or "") as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(row[0]) if row else 0


def test_instances_and_their_storages_share_connections(ref: InstanceRef, settings: Settings) -> None:
    seen = set()
    for _ in range(5):
        with DagsterInstance.from_ref(ref) as instance:
            instance.get_runs(RunsFilter(), limit=1)
            instance.get_dynamic_partitions("any")
            instance.all_instigator_state()
            seen.add(backend(instance))
    assert len(seen) == 1
    assert connections(settings) == 1


def test_a_server_that_cut_all_connections_fails_nobody(ref: InstanceRef, settings: Settings) -> None:
    with DagsterInstance.from_ref(ref) as instance:
        before = backend(instance)
        with psycopg.connect(settings.database.dagster_url or "", autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 10000)", (before,))
        assert instance.get_runs(RunsFilter(), limit=1) == []
        assert backend(instance) != before


def test_what_tables_there_are_is_not_asked_again(ref: InstanceRef) -> None:
    """dagster-postgres lists all tables several times a tick, and each storage of an event looks for one."""
    catalogue = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "pg_catalog" in statement:
            catalogue.append(statement)

    for tick in range(3):
        with DagsterInstance.from_ref(ref) as instance:
            engine = instance.schedule_storage._engine  # type: ignore[union-attr]
            if tick == 0:
                event.listen(engine, "before_cursor_execute", listen)
            instance.all_instigator_state()
            instance.get_instigator_state("origin", "selector")
            instance.add_dynamic_partitions("any", [f"tick {tick}"])
        if tick == 0:
            assert catalogue
            catalogue.clear()
    assert catalogue == []


def test_a_forked_child_has_connections_of_its_own(ref: InstanceRef) -> None:
    with DagsterInstance.from_ref(ref) as instance:
        before = backend(instance)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, str(backend(instance)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert int(os.read(reading, 20)) != before
        for descriptor in (reading, writing):
            os.close(descriptor)
        assert backend(instance) == before


def test_the_webserver_keeps_the_pool_and_gets_its_timeout(ref: InstanceRef) -> None:
    with DagsterInstance.from_ref(ref) as instance:
        instance.optimize_for_webserver(statement_timeout=4321, pool_recycle=3600, max_overflow=20)
        assert isinstance(instance.run_storage, PostgresRunStorage)
        with instance.run_storage.connect() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "4321ms"
        engines = {
            getattr(storage, "_engine", None)
            for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        }
        assert len(engines) == 1


def test_options_of_the_url_stay_with_the_webservers(settings: Settings) -> None:
    url = f"{database_variable(settings.database.dagster_url or '')}&options=-c%20lock_timeout%3D1234"
    storage = PooledPostgresStorage(url).run_storage
    storage.optimize_for_webserver(statement_timeout=4321, pool_recycle=3600, max_overflow=20)
    with storage.connect() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "1234ms"
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "4321ms"
    dispose_pools()


def test_the_limits_are_those_of_the_settings(settings: Settings) -> None:
    """They stand in the URL; what is given beside a URL would replace them."""
    given = settings.model_copy(update={"database": settings.database.model_copy(update={"silence_seconds": 12})})
    storage = PooledPostgresStorage(database_variable(dagster_database_url(given))).run_storage
    with storage.connect() as connection:
        limits = connection.connection.dbapi_connection.get_dsn_parameters()
    dispose_pools()
    assert (limits["keepalives_idle"], limits["keepalives_interval"]) == ("6", "2")
    assert limits["tcp_user_timeout"] == "12000"


def test_threads_of_a_process_are_bounded(ref: InstanceRef) -> None:
    with DagsterInstance.from_ref(ref) as instance:
        pool = instance.run_storage._engine.pool  # type: ignore[attr-defined]
        assert (pool.size(), pool.size() + pool._max_overflow) == (KEPT_CONNECTIONS, MOST_CONNECTIONS)


def test_dagsters_own_command_works_with_it(home: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
    for arguments in (["instance", "migrate"], ["instance", "info"]):
        result = subprocess.run(
            [sys.executable, "-m", "dagster", *arguments],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    assert "schedule_storage" in result.stdout


def test_daemon_and_webserver_load_no_engine_with_it() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, resources.dagster_storage; print('audiomill.engines' in sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "False"


def test_the_setting_goes_back_to_the_plain_storage(settings: Settings, tmp_path: Path) -> None:
    plain = settings.model_copy(update={"dagster": DagsterSettings(pooled_storage=False)})
    assert dagster_yaml(plain)["storage"] == {"postgres": {"postgres_url": {"env": DATABASE_VARIABLE}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(dagster_yaml(plain)))
    dagster_instance_config(str(tmp_path))


@pytest.mark.parametrize("storage", [PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage])
def test_the_private_name_is_still_there(storage: type, settings: Settings) -> None:
    made = storage(database_variable(settings.database.dagster_url or ""), should_autocreate_tables=False)
    assert made._engine.pool.__class__.__name__ == "NullPool", (
        "dagster-postgres changed: see resources/dagster_storage.py"
    )


def test_it_takes_the_configuration_of_the_plain_storage() -> None:
    assert set(PooledPostgresStorage.config_type()) >= {"postgres_url", "postgres_db"}
