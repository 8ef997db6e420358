"""The run's line to the database: how often it tells of progress, and what it never says in a log."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import structlog
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from audiomill.database.connection import Database
from audiomill.errors import BadInput, StorageUnavailable
from audiomill.jobs.batches import working
from audiomill.jobs.batches.leases import Claim
from audiomill.milling import writer as module
from audiomill.milling.writer import BatchWriter
from audiomill.settings import Settings

CLAIM = Claim("batch", "transcribe", "scripted", None, "cpu", 1, "run", ())


class Unasked(BatchWriter):
    """Its writes go to a list."""

    def __init__(self) -> None:
        super().__init__(Database("postgresql://nobody@127.0.0.1:1/none"), CLAIM, Settings())
        self.written: list[str] = []

    def _write(self, action: Callable[[Session], object]) -> object:  # type: ignore[override]  # of no session
        return action(None)  # type: ignore[arg-type]  # what it calls is replaced


@pytest.fixture(autouse=True)
def _every_line_is_logged() -> Iterator[None]:
    """A process logs as its last `log_as_json` said: another test's may have asked for errors only."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.fixture
def writer() -> Iterator[Unasked]:
    writer = Unasked()
    yield writer
    writer._database.dispose()


def test_ten_hours_of_progress_are_a_hundred_events_at_most(writer: Unasked, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(working, "progressed", lambda _session, _claim, _item, share: told.append(share))
    steps = 20_000
    for step in range(steps + 1):
        now[0] += 0.5
        writer.progress("item", step / steps)
    assert 90 <= len(told) <= 100
    assert all(after > before for before, after in pairwise(told))


def test_progress_of_a_short_recording_is_not_told_for_every_word(
    writer: Unasked, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(module.time, "monotonic", lambda: 1.0)
    monkeypatch.setattr(working, "progressed", lambda _session, _claim, _item, share: told.append(share))
    for share in (0.2, 0.4, 0.6):
        writer.progress("item", share)
    assert told == [0.2]


def test_what_is_over_in_a_moment_needs_no_transaction_for_its_progress(
    writer: Unasked, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, float]] = []
    now = [1.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(working, "progressed", lambda _session, _claim, item, share: told.append((item, share)))
    writer.inside({"short", "long"})
    writer.progress("short", 0.9)
    writer.progress("long", 0.1)
    now[0] += module.PROGRESS_SECONDS
    writer.inside({"long"})
    writer.progress("long", 0.5)
    assert told == [("long", 0.5)]


def test_a_text_that_is_not_utf8_does_not_reach_the_log(writer: Unasked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "fail_item", lambda *_: True)
    try:
        b"a secret \xff text".decode()
    except UnicodeDecodeError as cause:
        error = BadInput("It is not UTF-8.")
        error.__cause__ = cause
    with capture_logs() as lines:
        writer.fail("item", "job", error)
    (line,) = lines
    assert line["cause"] == "UnicodeDecodeError"
    assert "secret" not in str(line)


@pytest.mark.parametrize(("became", "level"), [("waits", "warning"), ("given_up", "error")])
def test_the_operators_log_says_why_an_item_went_back_or_was_given_up(
    writer: Unasked, monkeypatch: pytest.MonkeyPatch, became: str, level: str
) -> None:
    noted: list[str] = []

    def hand_back(_session: Session, _claim: Claim, _item: str, why: str, _settings: Settings) -> str:
        noted.append(why)
        return became

    monkeypatch.setattr(working, "hand_back", hand_back)
    with capture_logs() as lines:
        writer.hand_back("item", "job", StorageUnavailable("The object cannot be had."))
    (line,) = lines
    assert line["log_level"] == level
    assert noted == [line["error"]] == ["StorageUnavailable: The object cannot be had."]
