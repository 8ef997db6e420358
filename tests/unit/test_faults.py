"""What is said of errors: what helps to mend them, and nothing that a customer sent. The libraries' own errors."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import psycopg
import pytest
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import text

from api.logs import set_up_logging
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.database.connection import Database
from audiomill.errors import BadInput, EngineFailed, NotFound, StorageUnavailable
from audiomill.faults import told, told_with_causes
from audiomill.settings import Settings, StorageSettings
from audiomill.storage.s3 import S3Store

SECRET = "the-divorce-of-jane-doe"


class Shy(BaseModel):
    """With pydantic's own default, which shows the value."""

    model_config = ConfigDict(extra="forbid")
    count: int


def of_pydantic() -> None:
    Shy.model_validate({"count": SECRET, SECRET: 1})


def of_a_codec() -> None:
    (SECRET.encode() + b"\xff").decode()


def of_a_dictionary() -> None:
    raise KeyError(SECRET)


def of_the_file_system() -> None:
    open(f"/nowhere/{SECRET}")  # noqa: PTH123, SIM115 - its error is wanted


def of_an_engine() -> None:
    try:
        raise ValueError(f"cannot speak {SECRET!r}")
    except ValueError as error:
        raise EngineFailed("It broke.") from error


def of_the_customer() -> None:
    raise BadInput(f"{SECRET!r} is not UTF-8 text.", code="not_text")


def of_several() -> None:
    raise ExceptionGroup(SECRET, [ValueError(SECRET), OSError(28, "No space left on device", SECRET)])


def of_the_store() -> None:
    store = S3Store(StorageSettings(kind="s3", endpoint_url="http://127.0.0.1:9"), attempts=1)
    try:
        store.get_bytes(f"inbox/acme/transcribe/{SECRET}.wav")
    finally:
        store.close()


RAISING = [
    (of_pydantic, "2 errors in Shy (count int_parsing, extra_forbidden)"),
    (of_a_codec, "UnicodeDecodeError"),
    (of_a_dictionary, "KeyError"),
    (of_the_file_system, "FileNotFoundError: No such file or directory"),
    (of_an_engine, "EngineFailed: It broke.; because of ValueError"),
    (of_the_customer, "BadInput: not_text"),
    (of_several, "ExceptionGroup"),
    (of_the_store, "StorageUnavailable: The object store does not answer (EndpointConnectionError)."),
]


@pytest.fixture
def logged(aws_credentials: None) -> Iterator[io.StringIO]:
    before = structlog.get_config()
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "asyncio", "sqlalchemy", "botocore")]
    kept = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    file = io.StringIO()
    set_up_logging("debug", file)
    yield file
    structlog.configure(**before)
    for logger, handlers, propagate in kept:
        logger.handlers, logger.propagate = handlers, propagate


def log_both_ways(raising: Callable[[], None]) -> BaseException:
    try:
        raising()
    except Exception as error:
        structlog.get_logger().exception("it broke", job="job_1")
        logging.getLogger("uvicorn.error").exception("a library says that it broke")
        return error
    raise AssertionError("it did not break")


@pytest.mark.parametrize(("raising", "said"), RAISING)
def test_an_error_is_told_without_content(logged: io.StringIO, raising: Callable[[], None], said: str) -> None:
    error = log_both_ways(raising)
    assert said in told_with_causes(error)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["it broke", "a library says that it broke"]
    for line in lines:
        assert line["exception"][0]["exc_type"] == type(error).__name__
        assert raising.__name__ in {frame["name"] for frame in line["exception"][0]["frames"]}
    assert SECRET not in logged.getvalue() + told(error) + told_with_causes(error)


STATEMENTS = [
    ("INSERT INTO workspaces (id, name) VALUES (:secret, :secret)", "UniqueViolation, 23505"),
    ("INSERT INTO workspaces (id, name, tier) VALUES (:secret, NULL, 0)", "NotNullViolation, 23502"),
    ("SELECT CAST(:secret AS integer)", "InvalidTextRepresentation, 22P02"),
]


@pytest.mark.parametrize(("statement", "said"), STATEMENTS)
def test_an_error_of_the_database_is_told_without_the_row(
    logged: io.StringIO, database: Database, statement: str, said: str
) -> None:
    with database.session() as session:
        session.execute(
            text("INSERT INTO workspaces (id, name) VALUES (:secret, '') ON CONFLICT DO NOTHING"), {"secret": SECRET}
        )

    def refused() -> None:
        with database.session() as session:
            session.execute(text(statement), {"secret": SECRET})

    error = log_both_ways(refused)
    assert SECRET in str(error.__cause__), "PostgreSQL shows the row, or the value"
    assert said in told(error)
    assert said in told(error.__cause__)  # type: ignore[arg-type]
    assert SECRET not in logged.getvalue() + told_with_causes(error)


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("postgresql://127.0.0.1:9/x")
    assert "127.0.0.1" in told(refused.value)


def test_the_servers_own_log_has_no_rows(database: Database) -> None:
    with database.session() as session:
        assert session.scalar(text("SHOW log_error_verbosity")) == "terse"


def test_settings_and_parameters_do_not_show_what_they_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOMILL_API__PORT", SECRET)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert SECRET not in str(refused.value)
    with pytest.raises(ValidationError) as refused:
        TranscribeParameters.model_validate({"beam_size": SECRET})
    assert SECRET not in str(refused.value)


def test_a_sentence_for_operators_is_told_whole() -> None:
    assert told(StorageUnavailable("The disk is full.")) == "StorageUnavailable: The disk is full."
    assert told(NotFound(f"There is no object {SECRET!r}.", code="object_not_found")) == "NotFound: object_not_found"
