"""What every test may ask for: settings, a database of its own, a store. No test helpers of one suite only.

One embedded PostgreSQL server serves a whole pytest process (an xdist worker is one). Each module that asks for
`database` gets a new database, copied from a migrated template; tests of one module share it.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest

from audiomill.database.connection import Database
from audiomill.database.embedded import EmbeddedServer, ensure_server
from audiomill.database.migrate import upgrade
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"

# Who starts this in the background of a script has Ctrl-C ignored, and so would have all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a developer has set for an installation of their own must not reach the tests.
for _name in [name for name in os.environ if name.upper().startswith("AUDIOMILL_")]:
    del os.environ[_name]

# How long an example takes says how busy the machine is, and nothing of the code. The suite tries the same examples
# each time, so that a change is judged by what it changed; `make explore` looks for new ones.
_BUSY = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("suite", _BUSY, derandomize=True)
hypothesis.settings.register_profile("explore", _BUSY, print_blob=True)
hypothesis.settings.load_profile("suite")


@dataclass(frozen=True)
class DatabaseUrls:
    """Where a module's two databases are."""

    audiomill: str
    dagster: str


@pytest.fixture(scope="session")
def database_server() -> Iterator[EmbeddedServer]:
    """An embedded server of this pytest process; its database `audiomill` is migrated and serves as the template."""
    # Not below pytest's own folder: that is closed to the operating system's user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="audiomill-postgres-"))
    server = ensure_server(Settings(data_dir=folder))
    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            # What a test loses in a crash of the machine nobody misses.
            for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
        template = Database(server.url("audiomill"))
        upgrade(template.engine)
        template.dispose()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def database_urls(database_server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[DatabaseUrls]:
    """Two new databases for the module: audiomill's, migrated, and an empty one for Dagster's storages."""
    name = f"t{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(database_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE audiomill'.encode())
        connection.execute(f'CREATE DATABASE "{name}_dagster"'.encode())
    yield DatabaseUrls(database_server.url(name), database_server.url(f"{name}_dagster"))
    with psycopg.connect(database_server.url("postgres"), autocommit=True) as connection:
        for each in (name, f"{name}_dagster"):
            connection.execute(f'DROP DATABASE IF EXISTS "{each}" WITH (FORCE)'.encode())


@pytest.fixture(scope="module")
def settings(database_urls: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an installation under a temporary folder, on the module's databases."""
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        database={"url": database_urls.audiomill, "dagster_url": database_urls.dagster},
        inbox={"settle_seconds": 0},
    )


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    """The module's database, migrated and empty when the module begins."""
    database = Database.from_settings(settings)
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def store(settings: Settings) -> ObjectStore:
    """The module's object store: a local directory."""
    from audiomill.storage.factory import open_store

    return open_store(settings)


@pytest.fixture(scope="module")
def aws_credentials() -> Iterator[None]:
    """What boto3's own chain finds."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.delenv("AWS_PROFILE", raising=False)
        yield


@pytest.fixture(scope="module")
def s3_server(aws_credentials: None) -> Iterator[str]:
    """Address of an S3 server over real HTTP, with the bucket `mill`. It accepts any credentials."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with closing(boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")) as client:
        client.create_bucket(Bucket="mill")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings, beside the repository."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"real recordings are not here: {RECORDINGS}")
    return RECORDINGS
