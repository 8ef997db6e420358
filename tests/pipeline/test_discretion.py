"""Real errors on their way out of runs and ticks: neither Dagster's event log nor ours has a word of a customer's."""

import io
from collections.abc import Iterator

import pytest
import structlog
from dagster import DagsterInstance, Definitions, ExecuteInProcessResult
from dagster._utils.error import serializable_error_info_from_exc_info
from sqlalchemy import text

import assets.transcript_words
from audiomill.database.connection import Database
from audiomill.errors import BadRequest, StorageUnavailable
from audiomill.jobs.queries import get_job
from audiomill.logs import log_as_json
from definitions import build_defs
from ops.discretion import UnforeseenError, discreet
from tests.fakes.scripted_engine import Scripted
from tests.pipeline.conftest import Materialise, Order
from tests.pipeline.test_sensors_start import Sensor

SECRET = "the-divorce-of-jane-doe"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    before = structlog.get_config()
    file = io.StringIO()
    log_as_json("debug", file)
    yield file
    structlog.configure(**before)


def everything_said(result: ExecuteInProcessResult, instance: DagsterInstance) -> str:
    return "\n".join(entry.to_json() for entry in instance.all_logs(result.run_id))


@pytest.mark.parametrize("state", ["running", "complete"])
def test_a_row_that_the_database_refuses(
    state: str,
    database: Database,
    order: Order,
    materialise: Materialise,
    instance: DagsterInstance,
    logged: io.StringIO,
) -> None:
    """At the begin of an item it breaks the run; at its end, the item."""
    batch_id, _ = order.batch(f"say:{SECRET}")
    with database.session() as session:
        session.execute(text(f"ALTER TABLE jobs ADD CONSTRAINT planted CHECK (state <> '{state}') NOT VALID"))
    try:
        result = materialise(batch_id)
    finally:
        with database.session() as session:
            session.execute(text("ALTER TABLE jobs DROP CONSTRAINT planted"))
    said = everything_said(result, instance) + logged.getvalue()
    assert "CheckViolation, 23514" in said
    assert SECRET not in said


def test_parameters_that_cannot_be_read(
    database: Database, order: Order, materialise: Materialise, instance: DagsterInstance, logged: io.StringIO
) -> None:
    batch_id, (job_id,) = order.batch("say:hello there")
    with database.session() as session:
        session.execute(
            text("""UPDATE work_items SET options = options || '{"beam_size": "%s"}'""" % SECRET)  # noqa: UP031
        )
    result = materialise(batch_id)
    with database.session() as session:
        job = get_job(session, None, job_id)
    assert job.failure_code == "internal_error"
    said = everything_said(result, instance) + logged.getvalue()
    assert "beam_size int_parsing" in said
    assert SECRET not in said + str(job.failure_reason)


def test_what_an_engine_says_in_its_own_words(
    database: Database,
    order: Order,
    materialise: Materialise,
    instance: DagsterInstance,
    logged: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_with_words(*_: object) -> None:
        raise ValueError(f"cannot hear {SECRET}")

    monkeypatch.setattr(Scripted, "transcribe", break_with_words)
    batch_id, (job_id,) = order.batch("say:hello there")
    result = materialise(batch_id)
    with database.session() as session:
        job = get_job(session, None, job_id)
    assert job.failure_code == "engine_crashed"
    said = everything_said(result, instance) + logged.getvalue()
    assert '"ValueError"' in said
    assert SECRET not in said + str(job.failure_reason)


def test_why_an_engine_cannot_be_loaded_is_not_the_customers_to_read(
    database: Database, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("/srv/models/small: CUDA failed with error 35")

    monkeypatch.setattr(Scripted, "load", refuse)
    batch_id, (job_id,) = order.batch("say:hello there")
    materialise(batch_id)
    with database.session() as session:
        job = get_job(session, None, job_id)
    assert "CUDA" not in str(job.failure_reason)


def test_a_tick_that_breaks(
    definitions: Definitions, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BadRequest(f"The object {SECRET!r} cannot be used.", code="bad_key")

    monkeypatch.setattr("sensors.inbox.take_page", refuse)
    with pytest.raises(UnforeseenError) as broken:
        Sensor(definitions, instance, "inbox").tick()
    assert SECRET not in serializable_error_info_from_exc_info(broken._excinfo).to_string()
    assert str(broken.value) == "BadRequest: bad_key"
    assert SECRET not in logged.getvalue()


def test_a_job_of_the_reaper_that_breaks(
    definitions: Definitions,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    logged: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Dagster's logger would print the error with its own text."""

    def refuse(*_: object, **__: object) -> None:
        raise BadRequest(f"The object {SECRET!r} cannot be used.", code="bad_key")

    monkeypatch.setattr("audiomill.jobs.batches.recovery.unstarted", refuse)
    assert "never_came broke" in str(Sensor(definitions, instance, "reaper").tick().skip_message)
    said = capfd.readouterr()
    told = said.out + said.err + caplog.text
    assert "BadRequest: bad_key" in told
    assert SECRET not in told + logged.getvalue()
    assert "never_came" in logged.getvalue(), "where it broke stands in our own log"


def test_an_error_for_operators_keeps_its_class_and_loses_its_causes(logged: io.StringIO) -> None:
    @discreet
    def away() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise StorageUnavailable("The store is away.") from error

    with pytest.raises(StorageUnavailable) as broken:
        away()
    assert (broken.value.__cause__, broken.value.__suppress_context__) == (None, True)
    assert broken.value.__notes__ == ["because of KeyError"]
    assert SECRET not in logged.getvalue()


def test_everything_that_dagster_calls_is_discreet() -> None:
    """Each op, each asset that is not made of ops, each sensor and schedule."""
    defs = build_defs()
    graph = defs.resolve_job_def("transcripts_cpu").all_node_defs
    functions = {node.name: node.compute_fn.decorated_fn for node in graph if hasattr(node, "compute_fn")}
    functions["transcript_words"] = assets.transcript_words.transcript_words.op.compute_fn.decorated_fn
    assert len(functions) >= 5
    for sensor in defs.sensors or ():
        functions[sensor.name] = getattr(sensor, "_run_status_sensor_fn", None) or sensor._raw_fn
    functions |= {schedule.name: schedule._execution_fn.decorated_fn for schedule in defs.schedules or ()}
    unguarded = [name for name, function in functions.items() if not hasattr(function, "__wrapped__")]
    assert unguarded == []
