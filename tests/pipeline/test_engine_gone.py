"""An engine that was there when a job was ordered, and cannot be loaded when it is worked on."""

import pytest

from audiomill.database.connection import Database
from audiomill.errors import ConfigurationError, EngineUnavailable
from audiomill.jobs import recovery
from audiomill.jobs.queries import get_job
from audiomill.settings import Settings
from tests.fakes.scripted_engine import Scripted
from tests.pipeline.conftest import Materialise, Order, states


@pytest.mark.parametrize("error", [EngineUnavailable("the weights are gone."), ConfigurationError("a secret path")])
def test_it_is_tried_again_and_then_no_file_is_blamed(
    database: Database,
    settings: Settings,
    order: Order,
    materialise: Materialise,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(Scripted, "load", refuse)
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    for _ in range(settings.lease.max_attempts - 1):
        result = materialise(batch_id)
        assert not result.success
        assert states(database, jobs) == ["queued", "queued"]
        with database.session() as session:
            assert recovery.run_failed(session, run_id=result.run_id, reason="It broke.", settings=settings)
    assert not materialise(batch_id).success, "nothing came through"
    with database.session() as session:
        views = [get_job(session, None, job_id) for job_id in jobs]
    assert [(view.state, view.failure_code) for view in views] == [("failed", "engine_unavailable")] * 2
    for view in views:
        assert "scripted" in (view.failure_reason or "")
        assert "secret" not in (view.failure_reason or "")
        assert "onvert" not in (view.failure_reason or "")
