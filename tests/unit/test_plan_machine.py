"""Plans of any shape, in any order of failures, cancellations, edits, crashes, silence and runs again: the database is
where a small model of the rules says that it is.

Which items form a batch is not modelled (tests/unit/test_jobs_batching.py), nor what two transactions do at once
(tests/unit/test_jobs_steps.py).
"""

from dataclasses import dataclass, field
from itertools import pairwise
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

from audiomill.catalogue.plan import Step
from audiomill.database.connection import Database
from audiomill.database.tables import Batch, Job, JobEvent, Revision, WorkItem
from audiomill.errors import BadInput, Conflict, LeaseLost, LeaseRefused
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.leases import Claim, ClaimedItem
from audiomill.jobs.batches.workers import Fate
from audiomill.jobs.batches.working import ArtifactRecord, PartRecord
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.orders import InputObject, NewJob
from audiomill.jobs.revisions import cancel_revision, revise
from audiomill.settings import Settings
from tests.fakes.orders import order, prepare, rested, wipe
from tests.fakes.plans import PLANTED, fit, made, planted, runs
from tests.machines import examples

UNENDED = {"waiting", "queued", "batched", "running"}
OPEN = {"batched", "running"}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Step, ...]:
    """One to six steps; each reads some of those before it, or the source."""
    steps: list[Step] = []
    for place in range(draw(st.integers(1, 6))):
        read = draw(st.sets(st.sampled_from([step.name for step in steps]), max_size=3)) if steps else set()
        reads = [f"{name}/x" for name in sorted(read)]
        weight = draw(st.sampled_from([0.5, 1.0, 4.0]))
        steps.append(fit(f"s{place}", *reads, optional=draw(st.booleans()), weight=weight))
    last = fit(f"s{len(steps)}", *[f"{step.name}/x" for step in steps[-2:]], delivers=True)
    return (*steps, last)


@dataclass
class ModelJob:
    """The rules, as a person would say them: states of the steps of one revision of a job, and of that revision.

    kept: the steps of an edit's revision that are as they were, or as they were edited; None: of the order.
    """

    steps: tuple[Step, ...]
    state: str = "queued"
    kept: dict[str, str] | None = None
    items: dict[str, str] = field(default_factory=dict)
    batches: dict[str, str | None] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    left_out: int = 0

    def __post_init__(self) -> None:
        for step in self.steps:
            self.items[step.name] = "waiting" if step.waits_for else "queued"
            self.batches[step.name] = None
        if self.kept is not None:
            self.items |= {step.name: "waiting" for step in self.steps} | self.kept
            self.goes_on()

    def edited(self, name: str) -> "ModelJob":
        """The next revision, in which that step's result is another: who reads it is made anew."""
        anew: set[str] = set()
        for step in self.steps:
            if step.waits_for & (anew | {name}):
                anew.add(step.name)
        kept = {step: state for step, state in self.items.items() if step not in anew}
        return ModelJob(self.steps, kept=kept, left_out=list(kept.values()).count("failed"))

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def goes_on(self) -> None:
        """After a step that ended well, or may be left out."""
        for step in self.steps:
            if self.items[step.name] == "waiting" and not any(self.items[each] in UNENDED for each in step.waits_for):
                self.items[step.name] = "queued"
        self.state = "running" if UNENDED & set(self.items.values()) else "complete"

    def fails(self, name: str) -> None:
        self.items[name] = "failed"
        if self.step(name).optional:
            self.left_out += 1
            self.goes_on()
        else:
            self.state = "failed"
            self.drops()

    def drops(self) -> None:
        for name, state in self.items.items():
            if state in UNENDED:
                self.items[name] = "cancelled"

    def back(self, names: list[str]) -> None:
        for name in names:
            self.items[name], self.batches[name] = "queued", None
        if names and self.state == "running" and not {"running", "complete"} & set(self.items.values()):
            self.state = "queued"

    def revived(self, batch_id: str) -> None:
        causes = [
            name
            for name, state in self.items.items()
            if state == "failed" and not self.step(name).optional and self.batches[name] == batch_id
        ]
        if self.state != "failed" or not causes:
            return
        (cause,) = causes
        self.items[cause] = "batched"
        dropped = [name for name, state in self.items.items() if state == "cancelled"]
        for name in dropped:
            self.items[name], self.batches[name] = "waiting", None
        self.goes_on()
        self.state = "queued"


def machine(database: Database, config: Settings) -> type[RuleBasedStateMachine]:  # noqa: C901 - many small rules
    class Plans(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.jobs: dict[tuple[str, int], ModelJob] = {}
            self.current: dict[str, int] = {}
            self.claims: list[Claim] = []
            self.number = 0

        @initialize(steps=graphs())
        def a_job_is_at_work(self, steps: tuple[Step, ...]) -> None:
            wipe(database)
            prepare(database, "acme")
            self.order(steps)
            self.start_runs()

        @rule(steps=graphs())
        def order(self, steps: tuple[Step, ...]) -> None:
            self.number += 1
            source = InputObject(f"uploads/{self.number}", "v1", 1000, "a.wav")
            with planted(*steps):
                (job_id,) = order(database, config, "acme", [NewJob(PLANTED, {}, source)]).job_ids
            self.jobs[job_id, 1] = ModelJob(steps)
            self.current[job_id] = 1

        def newest(self, job_id: str) -> int:
            return max(revision for job, revision in self.jobs if job == job_id)

        @precondition(lambda self: any(self.editable(job_id) for job_id in self.current))
        @rule(data=st.data())
        def edit(self, data: Any) -> None:
            job_id = data.draw(st.sampled_from(sorted(filter(self.editable, self.current))))
            model = self.jobs[job_id, self.current[job_id]]
            name = data.draw(st.sampled_from(self.read_steps(model)))
            number = self.newest(job_id) + 1
            with database.session() as session, planted(*_ANY):
                revised = revise(
                    session, workspace_id="acme", job_id=job_id, base=self.current[job_id],
                    replaced={name: edited(f"{job_id}-{number}")}, edited_lines=1, settings=config,
                )  # fmt: skip
            assert revised == number
            self.jobs[job_id, number] = model.edited(name)

        def read_steps(self, model: ModelJob) -> list[str]:
            """Those of which an edit may take the place."""
            read = {name for step in model.steps for name in step.waits_for}
            return sorted(name for name in read if model.items[name] == "complete")

        def editable(self, job_id: str) -> bool:
            model = self.jobs[job_id, self.current[job_id]]
            is_open = self.jobs[job_id, self.newest(job_id)].state in {"queued", "running"}
            return model.state == "complete" and not is_open and bool(self.read_steps(model))

        @precondition(lambda self: any(revision > 1 for _, revision in self.jobs))
        @rule(data=st.data())
        def cancel_an_edit(self, data: Any) -> None:
            job_id, revision = data.draw(st.sampled_from(sorted(each for each in self.jobs if each[1] > 1)))
            model = self.jobs[job_id, revision]
            try:
                with database.session() as session:
                    cancel_revision(session, workspace_id="acme", job_id=job_id, revision=revision)
            except Conflict:
                assert model.state in {"complete", "failed"}
                return
            if model.state != "cancelled":
                model.state = "cancelled"
                model.drops()

        @precondition(lambda self: any(revision > 1 for _, revision in self.jobs))
        @rule()
        def an_edit_of_what_is_open_or_old_is_refused(self) -> None:
            job_id = max(job for job, revision in self.jobs if revision > 1)
            if self.editable(job_id):
                return
            with pytest.raises(Conflict), database.session() as session:
                revise(
                    session, workspace_id="acme", job_id=job_id, base=self.current[job_id],
                    replaced={"s0": edited("never")}, edited_lines=1, settings=config,
                )  # fmt: skip

        @rule()
        def start_runs(self) -> None:
            rested(database)
            with planted(*_ANY):
                claims = runs(database, config)
            self.claims += claims
            for claim in claims:
                for item in claim.items:
                    model = self.jobs[item.job_id, item.revision]
                    assert model.items[item.step] == "queued", "only what is queued is batched"
                    model.items[item.step], model.batches[item.step] = "batched", claim.batch_id

        def owns(self, claim: Claim) -> bool:
            with database.session() as session:
                batch = session.get(Batch, claim.batch_id)
                return batch is not None and (batch.state, batch.fencing) == ("running", claim.fencing)

        def is_open(self, claim: Claim, item: ClaimedItem, states: set[str]) -> bool:
            model = self.jobs[item.job_id, item.revision]
            return model.batches[item.step] == claim.batch_id and model.items[item.step] in states

        @precondition(lambda self: any(claim.items for claim in self.claims))
        @rule(data=st.data(), how=st.sampled_from(["begin", "finish", "finish", "finish", "fail", "progress"]))
        def work_on_an_item(self, data: Any, how: str) -> None:
            claim = data.draw(st.sampled_from([claim for claim in self.claims if claim.items]))
            item = data.draw(st.sampled_from(claim.items))
            model, owns = self.jobs[item.job_id, item.revision], self.owns(claim)
            begins = how in {"begin", "finish"} and owns and self.is_open(claim, item, OPEN)
            try:
                with database.session() as session:
                    if how in {"begin", "finish"}:
                        assert bool(working.begin(session, claim, [item.id])) == begins
                    if how == "finish":
                        done = working.complete(session, claim, item.id, made(item, "x"))
                        assert done == (begins or model.items[item.step] == "complete")
                    elif how == "fail":
                        failed = working.fail_item(session, claim, item.id, BadInput("broken"))
                        assert failed == self.is_open(claim, item, OPEN)
                    elif how == "progress":
                        working.progressed(session, claim, item.id, 0.5)
            except LeaseLost:
                assert not owns
                return
            assert owns
            if begins:
                model.items[item.step], model.state = "running", "running"
            if how == "finish" and begins:
                model.items[item.step] = "complete"
                model.goes_on()
            elif how == "fail" and self.is_open(claim, item, OPEN):
                model.fails(item.step)

        @precondition(lambda self: self.claims)
        @rule(data=st.data(), how=st.sampled_from(["close", "crash", "crash", "stop", "silence", "again", "again"]))
        def end_a_run(self, data: Any, how: str) -> None:
            claim = data.draw(st.sampled_from(self.claims))
            if how == "again":
                self.run_again(claim.batch_id)
                return
            if how == "silence":
                self.fall_silent()
                return
            if not self.owns(claim):
                return
            with database.session() as session:
                if how == "close":
                    leases.close(session, claim)
                elif how == "stop":
                    recovery.give_back(session, claim, "stopped", config)
                else:
                    running = [item for item in claim.items if self.is_open(claim, item, {"running"})]
                    inside = [item for item in running if data.draw(st.booleans())]
                    fate = Fate(died=True, inside=frozenset(item.id for item in inside))
                    recovery.run_failed(session, run_id=claim.run_id, reason="crash", settings=config, fate=fate)
                    self.blame(inside)
            self.back(claim.batch_id)

        def blame(self, inside: list[ClaimedItem]) -> None:
            for item in inside:
                model = self.jobs[item.job_id, item.revision]
                model.crashes[item.step] = model.crashes.get(item.step, 0) + 1
            # All are counted before any of them fails: one that fails may take another with it.
            for item in sorted(inside, key=lambda item: item.id):
                model = self.jobs[item.job_id, item.revision]
                if model.crashes[item.step] > config.lease.max_attempts and model.items[item.step] in OPEN:
                    model.fails(item.step)

        def back(self, batch_id: str) -> None:
            for model in self.jobs.values():
                model.back(
                    [name for name in model.items if model.batches[name] == batch_id and model.items[name] in OPEN]
                )

        def fall_silent(self) -> None:
            with database.session() as session:
                session.execute(text("UPDATE batches SET lease_expires_at = clock_timestamp() - interval '1 s'"))
                lapsed = recovery.lapsed(session)
                for owned in lapsed:
                    recovery.expire(session, owned, Fate(), config)
            for owned in lapsed:
                self.back(owned.batch_id)

        def run_again(self, batch_id: str) -> None:
            self.number += 1
            with database.session() as session:
                was = session.scalar(select(Batch.state).where(Batch.id == batch_id))
            try:
                with database.session() as session, planted(*_ANY):
                    claim = leases.claim(
                        session, batch_id=batch_id, stage="fit", run_id=f"again-{self.number}", settings=config
                    )
            except LeaseRefused:
                assert was != "closed"
                return
            self.claims.append(claim)
            if was == "closed":
                for (_, revision), model in self.jobs.items():
                    if revision == 1:  # an edit that failed is made again by its customer
                        model.revived(batch_id)

        @precondition(lambda self: self.jobs)
        @rule(data=st.data())
        def cancel(self, data: Any) -> None:
            job_id = data.draw(st.sampled_from(sorted(self.current)))
            model = self.jobs[job_id, 1]
            try:
                with database.session() as session:
                    cancel_job(session, workspace_id="acme", job_id=job_id)
            except Conflict:
                assert model.state in {"complete", "failed"}
                return
            if model.state != "cancelled":
                model.state = "cancelled"
                model.drops()

        @invariant()
        def the_database_is_where_the_model_is(self) -> None:
            with database.session() as session:
                jobs = {job.id: job for job in session.scalars(select(Job))}
                items = session.scalars(select(WorkItem)).all()
                revisions = session.scalars(select(Revision)).all()
                assert {(job_id, 1): job.state for job_id, job in jobs.items()} | {
                    (made.job_id, made.revision): made.state for made in revisions
                } == {
                    (job_id, revision): model.state if revision == 1 else _AS_REVISION.get(model.state, model.state)
                    for (job_id, revision), model in self.jobs.items()
                }
                assert len(items) == sum(len(model.steps) for model in self.jobs.values())
                for item in items:
                    model = self.jobs[item.job_id, item.revision]
                    assert (item.step, item.state) == (item.step, model.items[item.step])
                    open_reads = sum(model.items[each] in UNENDED for each in model.step(item.step).waits_for)
                    if item.state == "waiting":
                        assert item.waits_for == open_reads > 0
                    if item.state in OPEN:
                        assert item.batch_id == model.batches[item.step]
                for job_id, job in jobs.items():
                    completed = [
                        at
                        for (each, at), model in self.jobs.items()
                        if each == job_id and (at == 1 or model.state == "complete")
                    ]
                    self.current[job_id] = max(completed)
                    assert job.revision == max(completed)
                    assert len(job.warnings) == self.jobs[job_id, job.revision].left_out

        @invariant()
        def what_is_told_is_true(self) -> None:
            """Events have no gaps, a job completes once, and its progress does not fall while it runs."""
            with database.session() as session:
                for job_id in self.current:
                    events = session.scalars(
                        select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)
                    ).all()
                    assert [event.seq for event in events] == list(range(1, len(events) + 1))
                    assert [event.state for event in events].count("complete") <= 1
                    for before, after in pairwise(events):
                        assert 0 <= after.progress <= 1
                        assert after.state == "queued" or after.progress >= before.progress - 1e-9

    return Plans


_AS_REVISION = {"queued": "open", "running": "open"}


def edited(key: str) -> ArtifactRecord:
    return ArtifactRecord(key, f"artifacts/{key}/x", "4" * 64, 1, {}, {"x": PartRecord(key, "4" * 64, 1, "text/plain")})


_ANY = (fit("any"),)
"""Claiming asks a capability for its roles only."""


@pytest.mark.slow
def test_any_plan_in_any_order_of_events(database: Database, settings: Settings) -> None:
    few = settings.model_copy(
        update={
            "batching": settings.batching.model_copy(update={"min_items": 1, "max_items": 2}),
            "lease": settings.lease.model_copy(update={"max_attempts": 1}),
        }
    )
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine(database, few),
        settings=examples(30, steps=30),
    )
