"""A text whose length nobody could know at its order: held against the limit before it is spoken, and while it is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions

from audiomill.database.connection import Database
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.settings import Settings, get_settings
from audiomill.storage import ObjectStore
from tests.pipeline.milling import Mill

PROSE = b"Nothing is short that is long. " * 20
SPELT = b"W.\n\n" * 40
"""Every letter a paragraph of its own takes a second, and looks like less."""


@pytest.fixture
def mill(
    database: Database, store: ObjectStore, settings: Settings, definitions: Definitions, instance: DagsterInstance
) -> Mill:
    return Mill(database, store, settings, definitions, instance)


@pytest.fixture
def twenty_seconds(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The longest that is spoken."""
    monkeypatch.setenv("AUDIOMILL_LIMITS__MAX_SECONDS", "20")
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def test_what_takes_too_long_is_refused_before_it_is_spoken_or_stopped_while_it_is(
    mill: Mill, twenty_seconds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken: list[tuple[str, float]] = []
    synthesize: Callable[..., Any] = Espeak.synthesize

    def noted(engine: Espeak, texts: Sequence[str], *arguments: Any, longest_seconds: float) -> Any:
        spoken.extend((text, longest_seconds) for text in texts)
        return synthesize(engine, texts, *arguments, longest_seconds=longest_seconds)

    monkeypatch.setattr(Espeak, "synthesize", noted)
    prose, spelt, good = mill.order([PROSE, SPELT, b"Good morning."], "synthesize")
    mill.work()
    for job_id in (prose, spelt):
        job = mill.job(job_id)
        assert (job.state, job.failure_code) == ("failed", "speech_too_long")
        assert "20 seconds to speak" in str(job.failure_reason)
    assert mill.job(good).state == "complete"
    assert sorted(spoken) == [("Good morning.", 20.0), (SPELT.decode(), 20.0)]
