"""An engine that was there when a job was ordered, and cannot be loaded when it is worked on."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.errors import ConfigurationError, EngineUnavailable
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_batch
from audiomill.settings import Settings
from tests.fakes.orders import rested
from tests.fakes.scripted_engine import Scripted
from tests.pipeline.conftest import Materialise, Order, states


@pytest.mark.parametrize("error", [EngineUnavailable("the weights are gone."), ConfigurationError("a wrong path")])
def test_jobs_wait_and_nobody_is_told_that_it_was_theirs(
    database: Database,
    settings: Settings,
    order: Order,
    materialise: Materialise,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as gone:
        gone.setattr(Scripted, "load", refuse)
        for _ in range(settings.lease.max_attempts + 2):
            assert not materialise(batch_id).success
            assert states(database, jobs) == ["queued", "queued"]
            with database.session() as session:
                assert str(error) in (get_batch(session, batch_id).note or "")
                # The lane rests: a broken installation starts no storm of runs.
                assert form_batches(session, settings) == []
            rested(database)
            with database.session() as session:
                (batch_id,) = form_batches(session, settings)
    with database.session() as session:
        assert [(breaks, str(error) in note) for _, breaks, note in all_pauses(session)] == [(5, True)]
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "complete"]
    with database.session() as session:
        assert all_pauses(session) == []


def all_pauses(session: Session) -> list[tuple[str, int, str]]:
    """Of all lanes, those that no longer rest among them."""
    return [tuple(row) for row in session.execute(text("SELECT lane, breaks, note FROM lane_pauses"))]
