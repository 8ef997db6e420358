"""The three ways in which an operator can run a batch again, and the runs that are refused (design, section 7)."""

from dataclasses import dataclass

import pytest
from dagster import DagsterEvent, DagsterInstance, ReexecutionOptions, execute_job, reconstructable
from sqlalchemy import select, text

from audiomill.database.connection import Database
from audiomill.database.tables import Output
from audiomill.jobs.batches import leases, recovery
from audiomill.jobs.batches.workers import Fate
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.queries import get_batch
from audiomill.settings import Settings
from tests.pipeline.conftest import WORKSPACE, Materialise, Order, states
from tests.pipeline.reconstructed import transcripts_cpu


@dataclass(frozen=True)
class Rerun:
    """What came of a re-execution."""

    success: bool
    all_events: list[DagsterEvent]


def outputs(database: Database, job_id: str) -> list[tuple[str, int]]:
    with database.session() as session:
        rows = session.execute(select(Output.name, Output.version).where(Output.job_id == job_id))
        return sorted((row.name, row.version) for row in rows)


def mend(database: Database, job_ids: tuple[str, ...]) -> None:
    """What a fixed engine would be: failed jobs' scripts now succeed."""
    with database.session() as session:
        session.execute(
            text(
                'UPDATE work_items SET options = options || \'{"initial_prompt": "say:mended"}\' '
                "WHERE job_id = ANY(:ids)"
            ),
            {"ids": list(job_ids)},
        )


def again(instance: DagsterInstance, run_id: str, *, from_failure: bool) -> Rerun:
    """As the UI does: the parent's tags are copied, the run key among them."""
    parent = instance.get_run_by_id(run_id)
    assert parent is not None
    options = ReexecutionOptions.from_failure(run_id, instance) if from_failure else ReexecutionOptions(run_id)
    tags = {key: value for key, value in parent.tags.items() if not key.startswith(".dagster")}
    with execute_job(
        reconstructable(transcripts_cpu), instance=instance, tags=tags, reexecution_options=options
    ) as result:
        return Rerun(result.success, [event for event in result.all_events if event.step_key])


def test_materialised_again_complete_items_stay_and_failed_ones_are_tried_again(
    database: Database, order: Order, materialise: Materialise
) -> None:
    batch_id, jobs = order.batch("say:well", "refuse")
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "failed"]
    before = outputs(database, jobs[0])
    mend(database, jobs)
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "complete"]
    assert outputs(database, jobs[0]) == before


def test_re_executed_the_same(
    database: Database, order: Order, materialise: Materialise, instance: DagsterInstance
) -> None:
    batch_id, jobs = order.batch("say:well", "refuse")
    first = materialise(batch_id, {"audiomill/batch": batch_id, "dagster/run_key": batch_id})
    before = outputs(database, jobs[0])
    mend(database, jobs)
    result = again(instance, first.run_id, from_failure=False)
    assert result.success
    assert states(database, jobs) == ["complete", "complete"]
    assert outputs(database, jobs[0]) == before


def test_re_executed_from_failure_the_skipped_claim_is_made_up_for(
    database: Database, order: Order, materialise: Materialise, instance: DagsterInstance
) -> None:
    batch_id, jobs = order.batch("say:well", "refuse")
    # Every item has ended when the run breaks: the picture cannot be stored.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ops.work._store_picture", _away)
        first = materialise(batch_id)
    assert not first.success
    assert states(database, jobs) == ["complete", "failed"]
    mend(database, jobs)
    result = again(instance, first.run_id, from_failure=True)
    assert result.success
    executed = {event.step_key for event in result.all_events if event.is_step_start}
    assert "transcripts.claim_batch" not in executed
    assert "transcripts.work_batch" in executed
    assert states(database, jobs) == ["complete", "complete"]
    assert all(len(set(outputs(database, job))) == len(outputs(database, job)) for job in jobs)
    with database.session() as session:
        assert get_batch(session, batch_id).state == "closed"


def test_from_failure_of_a_batch_whose_items_went_elsewhere_is_refused(
    database: Database, order: Order, materialise: Materialise, instance: DagsterInstance
) -> None:
    batch_id, jobs = order.batch("say:well", "say:fine")
    # The store is "away" when the second item is stored: the run breaks in the middle, and gives back what is open.
    with pytest.MonkeyPatch.context() as patch:
        _break_second_delivery(patch)
        patch.setattr("ops.work.whose", lambda *_: "machine")
        first = materialise(batch_id)
    assert not first.success
    assert sorted(states(database, jobs)) == ["complete", "queued"]
    assert not again(instance, first.run_id, from_failure=True).success
    with database.session() as session:
        assert get_batch(session, batch_id).state == "cancelled"


def test_from_failure_of_close_alone(
    database: Database, order: Order, materialise: Materialise, instance: DagsterInstance, settings: Settings
) -> None:
    batch_id, jobs = order.batch("say:well")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ops.close.links", _away)
        first = materialise(batch_id)
    assert not first.success
    assert states(database, jobs) == ["complete"]
    with database.session() as session:
        recovery.run_failed(session, run_id=first.run_id, reason="x", settings=settings, fate=Fate())
    result = again(instance, first.run_id, from_failure=True)
    assert result.success
    with database.session() as session:
        assert get_batch(session, batch_id).state == "closed"


def test_a_second_live_run_is_refused_with_a_reason(
    database: Database, order: Order, materialise: Materialise, settings: Settings
) -> None:
    batch_id, jobs = order.batch("say:well")
    with database.session() as session:
        leases.claim(session, batch_id=batch_id, stage="transcribe", run_id="live", settings=settings)
    result = materialise(batch_id)
    assert not result.success
    assert "being worked on by the run live" in _failure(result)
    assert states(database, jobs) == ["queued"]


def test_a_duplicate_of_the_run_that_was_asked_for_tries_nothing_again(
    database: Database, order: Order, materialise: Materialise
) -> None:
    batch_id, jobs = order.batch("say:well", "refuse")
    tags = {"audiomill/batch": batch_id, "dagster/run_key": batch_id}
    assert materialise(batch_id, tags).success
    mend(database, jobs)
    duplicate = materialise(batch_id, tags)
    assert not duplicate.success
    assert "was worked off by the run" in _failure(duplicate)
    assert states(database, jobs) == ["complete", "failed"]


def test_an_unknown_batch_is_refused(order: Order, materialise: Materialise) -> None:
    result = materialise("made-up")
    assert not result.success
    assert "There is no batch 'made-up'" in _failure(result)


def test_a_batch_of_another_stage_is_refused(order: Order, materialise: Materialise, database: Database) -> None:
    batch_id, _ = order.batch("say:well")
    with database.session() as session:
        session.execute(text("UPDATE batches SET stage = 'synthesize'"))
    assert "is for the stage 'synthesize'" in _failure(materialise(batch_id))


def test_a_cancelled_job_is_skipped(database: Database, order: Order, materialise: Materialise) -> None:
    batch_id, jobs = order.batch("say:one", "say:two")
    with database.session() as session:
        cancel_job(session, workspace_id=WORKSPACE, job_id=jobs[0])
    assert materialise(batch_id).success
    assert states(database, jobs) == ["cancelled", "complete"]
    assert outputs(database, jobs[0]) == []


def _away(*_: object, **__: object) -> None:
    from audiomill.errors import StorageUnavailable

    raise StorageUnavailable("The object store does not answer.")


def _break_second_delivery(patch: pytest.MonkeyPatch) -> None:
    from audiomill.stages.transcribe import work as transcribe

    real, count = transcribe.deliver, iter(range(100))

    def deliver(*given: object, **named: object) -> object:
        return real(*given, **named) if next(count) == 0 else _away()

    patch.setattr(transcribe, "deliver", deliver)


def _failure(result: object) -> str:
    events = [event for event in result.all_events if event.is_step_failure]  # type: ignore[attr-defined]
    (event,) = [event for event in events if event.step_key == "transcripts.claim_batch"]
    return event.step_failure_data.user_failure_data.description or ""
