"""The object store goes away while a batch is worked on."""

import pytest

from audiomill.database.connection import Database
from audiomill.errors import StorageUnavailable
from audiomill.jobs import recovery
from audiomill.jobs.batching import form_batches
from audiomill.jobs.queries import get_batch
from audiomill.settings import Settings
from audiomill.storage.local import LocalStore
from tests.pipeline.conftest import Materialise, Order, states


def away(*_: object, **__: object) -> str:
    raise StorageUnavailable("The object store does not answer.")


def test_while_the_store_is_away_items_wait_uncounted(
    database: Database, settings: Settings, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, jobs = order.batch("say:hello there", "say:good bye")
    with monkeypatch.context() as outage:
        outage.setattr(LocalStore, "fetch", away)
        outage.setattr(LocalStore, "ready", away)
        for _ in range(settings.lease.max_attempts + 2):
            result = materialise(batch_id)
            assert not result.success
            assert states(database, jobs) == ["queued", "queued"]
            with database.session() as session:
                assert recovery.run_failed(session, run_id=result.run_id, reason="It broke.", settings=settings) is None
                assert get_batch(session, batch_id).state == "cancelled"
                (batch_id,) = form_batches(session, settings)
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "complete"]


def test_one_object_that_the_store_does_not_give_counts_as_a_broken_run(
    database: Database, settings: Settings, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, _ = order.batch("say:hello there")
    monkeypatch.setattr(LocalStore, "fetch", away)
    result = materialise(batch_id)
    with database.session() as session:
        assert recovery.run_failed(session, run_id=result.run_id, reason="It broke.", settings=settings) == batch_id
        assert get_batch(session, batch_id).attempt == 2
