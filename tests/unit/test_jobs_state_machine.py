"""Whatever happens in whatever order, states move only as jobs/states.py allows, and every job ends once.

A trigger in the test's database writes down every move that any statement makes; Hypothesis drives submissions, runs,
crashes, cancellations and recoveries in orders of its own.
"""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.database.tables import Job, JobEvent, WorkItem
from audiomill.errors import BadInput, Conflict, LeaseLost, LeaseRefused
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.forming import form_batches, mark_requested, startable
from audiomill.jobs.batches.leases import Claim
from audiomill.jobs.batches.workers import Fate
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.states import BATCH_MOVES, FINISHED, ITEM_MOVES, JOB_MOVES
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, result, wipe
from tests.machines import examples

_RECORD_MOVES = """
CREATE TABLE IF NOT EXISTS moves (kind text, was text, became text);
CREATE OR REPLACE FUNCTION record_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> NEW.state THEN INSERT INTO moves VALUES (TG_TABLE_NAME, OLD.state, NEW.state); END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER record_move AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION record_move();
CREATE OR REPLACE TRIGGER record_move AFTER UPDATE ON work_items FOR EACH ROW EXECUTE FUNCTION record_move();
CREATE OR REPLACE TRIGGER record_move AFTER UPDATE ON batches FOR EACH ROW EXECUTE FUNCTION record_move();
"""


def machine(database: Database, config: Settings) -> type[RuleBasedStateMachine]:  # noqa: C901 - many small rules
    class Platform(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.claims: list[Claim] = []
            self.jobs: list[str] = []
            self.runs = 0
            self.proven: dict[str, int] = {}

        @initialize(count=st.integers(1, 6))
        def a_batch_is_running(self, count: int) -> None:
            wipe(database)
            with database.session() as session:
                session.execute(text("TRUNCATE moves"))
            prepare(database, "acme")
            self.submit(count)
            self.start_runs()

        @rule(count=st.integers(1, 4))
        def submit(self, count: int) -> None:
            self.jobs += order(database, config, "acme", audio(count)).job_ids

        @precondition(lambda self: self.jobs)
        @rule()
        def start_runs(self) -> None:
            with database.session() as session:
                # The rests are over: how long they are is tested elsewhere.
                session.execute(text("UPDATE lane_pauses SET until = clock_timestamp()"))
                session.execute(text("UPDATE work_items SET available_at = NULL"))
                form_batches(session, config)
                batches = startable(session)
                mark_requested(session, [batch.id for batch in batches])
            for batch in batches:
                self._claim(batch.id)

        def _claim(self, batch_id: str) -> None:
            self.runs += 1
            try:
                with database.session() as session:
                    self.claims.append(
                        leases.claim(
                            session, batch_id=batch_id, stage="transcribe", run_id=f"run-{self.runs}", settings=config
                        )
                    )
            except LeaseRefused:
                return

        @precondition(lambda self: self.claims)
        @rule(data=st.data(), how=st.sampled_from(["complete", "finish", "fail", "progress", "begin", "hand back"]))
        def work_on_an_item(self, data: Any, how: str) -> None:
            claim = data.draw(st.sampled_from(self.claims))
            if not claim.items:
                return
            item = data.draw(st.sampled_from(claim.items))
            try:
                with database.session() as session:
                    if how == "begin":
                        working.begin(session, claim, [item.id])
                    elif how == "finish":
                        working.begin(session, claim, [item.id])
                        working.complete(session, claim, item.id, result(item, claim))
                    elif how == "progress":
                        working.progressed(session, claim, item.id, 0.5)
                    elif how == "hand back":
                        working.hand_back(session, claim, item.id, "Ours.", config)
                    elif how == "fail":
                        working.fail_item(session, claim, item.id, BadInput("broken"))
                    else:
                        working.complete(session, claim, item.id, result(item, claim))
            except LeaseLost:
                return

        @precondition(lambda self: self.claims)
        @rule(data=st.data(), how=st.sampled_from(["close", "crash", "stop", "cancel", "silence", "again"]))
        def end_a_run(self, data: Any, how: str) -> None:
            claim = data.draw(st.sampled_from(self.claims))
            if how == "again":
                self._claim(claim.batch_id)
                return
            inside = data.draw(st.sets(st.sampled_from([item.id for item in claim.items]))) if claim.items else set()
            try:
                with database.session() as session:
                    if how == "close":
                        leases.close(session, claim)
                    elif how == "crash":
                        self._crash(session, claim, inside)
                    elif how == "stop":
                        recovery.give_back(session, claim, "stopped", config)
                    elif how == "cancel":
                        recovery.run_cancelled(session, run_id=claim.run_id)
                    else:
                        session.execute(
                            text(
                                "UPDATE batches SET lease_expires_at = clock_timestamp() - interval '1 s' "
                                "WHERE id = :id"
                            ),
                            {"id": claim.batch_id},
                        )
                        for owned in recovery.lapsed(session):
                            recovery.expire(session, owned, Fate(), config)
            except LeaseLost:
                return

        def _crash(self, session: Session, claim: Claim, inside: set[str]) -> None:
            running = set(
                session.scalars(
                    select(WorkItem.id).where(WorkItem.batch_id == claim.batch_id, WorkItem.state == "running")
                )
            )
            owned = recovery.owned_by(session, claim.run_id)
            fate = Fate(died=True, inside=frozenset(inside))
            recovery.run_failed(session, run_id=claim.run_id, reason="crash", settings=config, fate=fate)
            if owned is not None:
                for item_id in inside & running:
                    self.proven[item_id] = self.proven.get(item_id, 0) + 1

        @precondition(lambda self: self.jobs)
        @rule(data=st.data())
        def cancel_a_job(self, data: Any) -> None:
            try:
                with database.session() as session:
                    cancel_job(session, workspace_id="acme", job_id=data.draw(st.sampled_from(self.jobs)))
            except Conflict:
                return

        @invariant()
        def only_allowed_moves(self) -> None:
            allowed = {"jobs": JOB_MOVES, "work_items": ITEM_MOVES, "batches": BATCH_MOVES}
            with database.session() as session:
                for kind, was, became in session.execute(text("SELECT DISTINCT kind, was, became FROM moves")):
                    assert became in allowed[kind][was], f"{kind}: {was} -> {became}"

        @invariant()
        def jobs_and_items_agree_and_events_have_no_gaps(self) -> None:
            with database.session() as session:
                rows = session.execute(
                    text("SELECT j.state AS job, w.state AS item FROM jobs j JOIN work_items w ON w.job_id = j.id")
                ).all()
                for row in rows:
                    assert (row.job in FINISHED) == (row.item in FINISHED), f"job {row.job}, item {row.item}"
                    if row.job in FINISHED:
                        assert row.job == row.item
                for job_id, newest in session.execute(select(Job.id, Job.event_seq)):
                    numbers = session.scalars(
                        select(JobEvent.seq).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)
                    )
                    assert list(numbers) == list(range(1, newest + 1))

        @invariant()
        def every_open_item_has_a_way_on(self) -> None:
            with database.session() as session:
                stranded = session.execute(
                    text(
                        "SELECT w.id FROM work_items w LEFT JOIN batches b ON b.id = w.batch_id "
                        "WHERE w.state IN ('batched', 'running') AND coalesce(b.state, '') NOT IN ('formed', 'running')"
                    )
                ).all()
            assert stranded == []

        @invariant()
        def blame_is_proven(self) -> None:
            with database.session() as session:
                for item in session.execute(select(WorkItem.id, WorkItem.crashes, WorkItem.failure_code)):
                    assert item.crashes == self.proven.get(item.id, 0)
                    assert (item.failure_code == "engine_crashed") <= (item.crashes > config.lease.max_attempts)

    return Platform


@pytest.mark.slow
def test_any_order_of_events(database: Database, settings: Settings) -> None:
    with database.session() as session:
        session.execute(text(_RECORD_MOVES))
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine(database, settings),
        settings=examples(40, steps=25),
    )
