"""Jobs of many steps: what waits is queued when what it reads has ended, once; failures, cancellations, runs again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select, text

from audiomill.catalogue.plan import Role, Step
from audiomill.database.connection import Database
from audiomill.database.tables import Job, Output, WorkItem
from audiomill.errors import BadInput, BadRequest, EngineUnavailable
from audiomill.jobs.batches import leases, recovery, working
from audiomill.jobs.batches.leases import Origin
from audiomill.jobs.batches.manifests import batch_manifest
from audiomill.jobs.batches.workers import Fate
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.events.replay import events_after
from audiomill.jobs.orders import InputObject, NewJob
from audiomill.jobs.pages import list_jobs
from audiomill.jobs.queries import batch_jobs, get_job
from audiomill.settings import Settings
from tests.fakes.orders import order, prepare, rested, wipe
from tests.fakes.plans import PLANTED, finish, fit, made, planted, runs, steps_of

DIAMOND = (fit("split"), fit("left", "split/a", weight=2.0), fit("right", "split/b"), fit("join", "left/x", "right/x"))
LAME = (fit("split"), fit("left", "split/a"), fit("right", "split/b", optional=True), fit("join", "left/x", "right/x"))


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


@pytest.fixture
def diamond() -> Iterator[None]:
    with planted(*DIAMOND):
        yield


def source(name: str = "a.wav", *, key: str = "uploads/a") -> InputObject:
    return InputObject(key, "v1", 1000, name)


def ordered(database: Database, settings: Settings) -> str:
    return order(database, settings, "acme", [NewJob(PLANTED, {}, source())]).job_ids[0]


def one_by_one(settings: Settings) -> Settings:
    """A batch for each item."""
    batching = settings.batching.model_copy(update={"min_items": 1, "max_items": 1})
    return settings.model_copy(update={"batching": batching})


def items(database: Database) -> dict[str, WorkItem]:
    with database.session() as session:
        return {item.step: item for item in session.scalars(select(WorkItem))}


def states(database: Database) -> dict[str, str]:
    return {step: item.state for step, item in items(database).items()}


def job(database: Database) -> Job:
    with database.session() as session:
        return session.scalars(select(Job)).one()


def split(database: Database, settings: Settings) -> dict[str, tuple[leases.Claim, leases.ClaimedItem]]:
    """The first step done, and the two that follow claimed."""
    ((claim, item),) = steps_of(runs(database, settings)).values()
    assert finish(database, claim, item, made(item, "a", "b", seconds=9.0))
    with database.session() as session:
        leases.close(session, claim)
    return steps_of(runs(database, settings))


def test_an_order_makes_all_items_and_freezes_its_plan(database: Database, settings: Settings) -> None:
    hear = Step("hear", "transcribe", {"language": "en", "engine": "auto", "model": None}, language="en")
    say = Step("say", "synthesize", {"rate_wpm": 100}, ("hear/result",), language="de", optional=True)
    with planted(hear, say, fit("mix", "say/result", "hear/result", weight=3.0)):
        ordered(database, settings)
    found = items(database)
    assert {step: (item.state, item.waits_for) for step, item in found.items()} == {
        "hear": ("queued", 0),
        "say": ("waiting", 1),
        "mix": ("waiting", 2),
    }
    assert {step: item.engine for step, item in found.items()} == {
        "hear": "pocketsphinx",
        "say": "espeak-ng",
        "mix": "audiomill",
    }
    assert found["hear"].options == {"language": "en", "engine": "pocketsphinx", "model": None}
    assert [found[step].delivers for step in ("hear", "say", "mix")] == [False, False, True]
    assert found["hear"].id < found["say"].id < found["mix"].id
    frozen = job(database).plan["steps"]
    assert [(step["name"], step["engine"]) for step in frozen] == [
        ("hear", "pocketsphinx"),
        ("say", "espeak-ng"),
        ("mix", "audiomill"),
    ]
    assert frozen[2]["reads"] == ["say/result", "hear/result"]


def test_an_order_is_refused_for_any_step_that_no_engine_can_serve(database: Database, settings: Settings) -> None:
    say = Step("say", "synthesize", {}, ("hear/result",), language="tlh")
    with planted(Step("hear", "transcribe"), say), pytest.raises(EngineUnavailable, match="tlh"):
        ordered(database, settings)
    assert items(database) == {}


@pytest.mark.usefixtures("diamond")
def test_a_job_goes_through_its_plan(database: Database, settings: Settings) -> None:
    job_id = ordered(database, settings)
    at_work = split(database, settings)
    assert set(at_work) == {"left", "right"}
    assert items(database)["left"].audio_seconds == 9.0, "as long as what it reads"
    assert [ref.name for ref in at_work["left"][1].inputs] == ["split/a"]
    assert at_work["left"][1].object_key.endswith("/a.wav")
    assert at_work["left"][1].recording_id is None
    assert finish(database, *at_work["left"])
    assert states(database)["join"] == "waiting"
    assert job(database).state == "running"
    assert job(database).progress == pytest.approx(3 / 5)
    assert finish(database, *at_work["right"])
    (join,) = steps_of(runs(database, settings)).values()
    assert [ref.name for ref in join[1].inputs] == [], "these parts were not made"
    assert finish(database, *join)
    assert finish(database, *join), "sent again"
    with database.session() as session:
        events = events_after(session, workspace_id="acme", job_id=job_id, seq=0)
        assert [output.name for output in session.scalars(select(Output))] == ["join.txt"]
        view = get_job(session, None, job_id)
    shares = [event.progress for event in events]
    assert shares == sorted(shares)
    assert [event.state for event in events].count("complete") == 1
    assert (view.state, view.progress, view.batch_id) == ("complete", 1.0, join[0].batch_id)


@pytest.mark.usefixtures("diamond")
def test_what_two_wait_for_is_queued_once_however_they_end(database: Database, settings: Settings) -> None:
    """Two siblings that end at the same time, in transactions of two runs."""
    for _ in range(20):
        wipe(database)
        prepare(database, "acme")
        ordered(database, settings)
        at_work = split(database, settings)
        together = Barrier(2)

        def end(step: str) -> bool:
            claim, item = at_work[step]  # noqa: B023 - called in this round
            with database.session() as session:
                working.begin(session, claim, [item.id])
            with database.session() as session:
                together.wait()  # noqa: B023 - as above
                return working.complete(session, claim, item.id, made(item, "x"))

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(end, ["left", "right"])) == [True, True]
        join = items(database)["join"]
        assert (join.state, join.waits_for) == ("queued", 0)
        ((claim, item),) = steps_of(runs(database, settings)).values()
        assert [ref.name for ref in item.inputs] == ["left/x", "right/x"]
        assert finish(database, claim, item)
        assert job(database).state == "complete"


def test_two_last_steps_at_once_complete_their_job_once(database: Database, settings: Settings) -> None:
    with planted(fit("split"), fit("left", "split/a", delivers=True), fit("right", "split/b", delivers=True)):
        for _ in range(20):
            wipe(database)
            prepare(database, "acme")
            job_id = ordered(database, settings)
            at_work = split(database, settings)
            together = Barrier(2)

            def end(step: str) -> bool:
                claim, item = at_work[step]  # noqa: B023 - called in this round
                with database.session() as session:
                    working.begin(session, claim, [item.id])
                with database.session() as session:
                    together.wait()  # noqa: B023 - as above
                    return working.complete(session, claim, item.id, made(item))

            with ThreadPoolExecutor(2) as pool:
                assert list(pool.map(end, ["left", "right"])) == [True, True]
            with database.session() as session:
                events = events_after(session, workspace_id="acme", job_id=job_id, seq=0)
            assert [event.state for event in events].count("complete") == 1


def test_an_optional_step_that_fails_is_left_out(database: Database, settings: Settings) -> None:
    with planted(*LAME):
        job_id = ordered(database, settings)
        at_work = split(database, settings)
        assert finish(database, *at_work["left"], made(at_work["left"][1], "x"))
        claim, item = at_work["right"]
        with database.session() as session:
            working.begin(session, claim, [item.id])
            assert working.fail_item(session, claim, item.id, BadInput("It is broken.", code="broken"))
        ((claim, item),) = steps_of(runs(database, settings)).values()
        assert [ref.name for ref in item.inputs] == ["left/x"]
        assert finish(database, claim, item)
    with database.session() as session:
        view = get_job(session, None, job_id)
    assert (view.state, view.failure_code) == ("complete", None)
    assert view.warnings == [{"code": "broken", "sentence": "The step 'right' was left out. It is broken."}]


def test_a_failure_drops_the_siblings_wherever_they_are(database: Database, settings: Settings) -> None:
    more = (fit("third", "split/c"), fit("fourth", "split/d"))
    with planted(*DIAMOND[:3], *more, DIAMOND[3]):
        job_id = ordered(database, settings)
        at_work = split(database, settings)
        right = at_work["right"]
        with database.session() as session:
            working.begin(session, right[0], [right[1].id])
        left = at_work["left"]
        with database.session() as session:
            working.begin(session, left[0], [left[1].id])
            working.fail_item(session, left[0], left[1].id, BadInput("It is broken.", code="broken"))
        assert states(database) == {
            "split": "complete",
            "left": "failed",
            "right": "cancelled",
            "third": "cancelled",
            "fourth": "cancelled",
            "join": "cancelled",
        }
        with database.session() as session:
            view = get_job(session, None, job_id)
            assert (view.state, view.failure_reason, view.batch_id) == ("failed", "It is broken.", left[0].batch_id)
            assert leases.heartbeat(session, right[0], settings, in_work=[right[1].id]) == {right[1].id}
        with database.session() as session:
            assert not working.complete(session, right[0], right[1].id, made(right[1]))


def again(database: Database, settings: Settings, batch_id: str, stage: str = "fit") -> leases.Claim:
    with database.session() as session:
        return leases.claim(
            session, batch_id=batch_id, stage=stage, run_id="again", settings=settings, origin=Origin(False)
        )


@pytest.mark.usefixtures("diamond")
def test_an_operator_runs_the_batch_again_that_failed_a_job(database: Database, settings: Settings) -> None:
    one = one_by_one(settings)
    ordered(database, one)
    at_work = split(database, one)
    left, right = at_work["left"], at_work["right"]
    assert left[0].batch_id != right[0].batch_id
    with database.session() as session:
        working.begin(session, right[0], [right[1].id])
        working.begin(session, left[0], [left[1].id])
        working.fail_item(session, left[0], left[1].id, BadInput("It is broken."))
        leases.close(session, left[0])
    # The other one's batch says nothing of why the job failed: running it again revives nothing.
    with database.session() as session:
        leases.close(session, right[0])
    assert again(database, one, right[0].batch_id).items == ()
    assert job(database).state == "failed"
    claim = again(database, one, left[0].batch_id)
    assert [item.step for item in claim.items] == ["left"]
    assert states(database) == {"split": "complete", "left": "batched", "right": "queued", "join": "waiting"}
    assert (job(database).state, job(database).failure_code) == ("queued", None)
    assert finish(database, claim, claim.items[0])
    assert finish(database, *steps_of(runs(database, one))["right"])
    assert finish(database, *steps_of(runs(database, one))["join"])
    assert job(database).state == "complete"


@pytest.mark.usefixtures("diamond")
def test_what_was_dropped_and_is_wanted_again_is_dropped_by_the_run_that_has_it(
    database: Database, settings: Settings
) -> None:
    one = one_by_one(settings)
    ordered(database, one)
    at_work = split(database, one)
    left, right = at_work["left"], at_work["right"]
    with database.session() as session:
        working.begin(session, right[0], [right[1].id])
        working.begin(session, left[0], [left[1].id])
        working.fail_item(session, left[0], left[1].id, BadInput("It is broken."))
        leases.close(session, left[0])
    again(database, one, left[0].batch_id)
    with database.session() as session:
        assert leases.heartbeat(session, right[0], one, in_work=[right[1].id]) == {right[1].id}
    with database.session() as session:
        assert not working.complete(session, right[0], right[1].id, made(right[1]))
    assert states(database)["right"] == "queued"


@pytest.mark.usefixtures("diamond")
def test_cancelling_drops_all_steps(database: Database, settings: Settings) -> None:
    job_id = ordered(database, settings)
    at_work = split(database, settings)
    with database.session() as session:
        working.begin(session, at_work["left"][0], [at_work["left"][1].id])
    with database.session() as session:
        cancel_job(session, workspace_id="acme", job_id=job_id)
    assert set(states(database).values()) == {"complete", "cancelled"}
    with database.session() as session:
        claim, item = at_work["left"]
        assert not working.complete(session, claim, item.id, made(item))
    assert job(database).state == "cancelled"


@pytest.mark.usefixtures("diamond")
def test_a_run_that_dies_takes_its_step_back_and_nothing_else(database: Database, settings: Settings) -> None:
    ordered(database, settings)
    at_work = split(database, settings)
    claim = at_work["left"][0]
    with database.session() as session:
        working.begin(session, claim, [item.id for item in claim.items])
        working.progressed(session, claim, at_work["left"][1].id, 0.5)
    before = job(database).progress
    with database.session() as session:
        recovery.run_failed(session, run_id=claim.run_id, reason="died", settings=settings, fate=Fate(died=True))
    assert states(database)["left"] == "queued"
    assert states(database)["split"] == "complete"
    assert (job(database).state, job(database).progress) == ("running", before), "its first step is done"
    rested(database)
    for found in steps_of(runs(database, settings)).values():
        assert finish(database, *found)
    for found in steps_of(runs(database, settings)).values():
        assert finish(database, *found)
    assert job(database).state == "complete"


@pytest.mark.usefixtures("diamond")
def test_what_breaks_the_engine_again_and_again_fails_its_job_with_its_siblings(
    database: Database, settings: Settings
) -> None:
    one = one_by_one(settings)
    ordered(database, one)
    at_work = split(database, one)
    with database.session() as session:
        working.begin(session, at_work["right"][0], [at_work["right"][1].id])
    claim, item = at_work["left"]
    for attempt in range(settings.lease.max_attempts + 1):
        with database.session() as session:
            working.begin(session, claim, [item.id])
        with database.session() as session:
            fate = Fate(died=True, inside=frozenset({item.id}))
            recovery.run_failed(session, run_id=claim.run_id, reason="died", settings=one, fate=fate)
        if attempt < settings.lease.max_attempts:
            rested(database)
            claim, item = steps_of(runs(database, one))["left"]
    assert job(database).failure_code == "engine_crashed"
    assert states(database)["right"] == "cancelled"


def test_inputs_come_by_their_roles(database: Database, settings: Settings) -> None:
    roles = (
        Role("source", "audio"),
        Role("subtitles", "text", required=False),
        Role("track", "audio", required=False, many=True),
    )
    mix = fit("mix", "input:source", "input:subtitles", "input:track*")
    texts = InputObject("texts/acme/s", "s", 9, "es.srt", "5" * 64)
    tracks = [InputObject(f"uploads/{name}", "v1", 10, f"{name}.wav") for name in ("one", "two")]
    with planted(mix, roles=roles):
        others = (("track", tracks[1]), ("subtitles", texts), ("track", tracks[0]))
        order(database, settings, "acme", [NewJob(PLANTED, {}, source(), others=others)])
        ((_, item),) = steps_of(runs(database, settings)).values()
    assert [(ref.name, ref.filename, ref.kind) for ref in item.inputs] == [
        ("input:source", "a.wav", "audio"),
        ("input:subtitles", "es.srt", "text"),
        ("input:track", "two.wav", "audio"),
        ("input:track", "one.wav", "audio"),
    ]
    assert item.inputs[1].sha256 == "5" * 64


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        (("voice",), "unknown_role"),
        (("source",), "too_many_of_role"),
        ((), "missing_role"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    database: Database, settings: Settings, roles: tuple[str, ...], code: str
) -> None:
    known = (Role("source", "audio"), Role("subtitles", "text"))
    others = tuple((role, source(key="uploads/b")) for role in roles)
    with planted(fit("mix", "input:source"), roles=known), pytest.raises(BadRequest) as caught:
        order(database, settings, "acme", [NewJob(PLANTED, {}, source(), others=others)])
    assert caught.value.code == code
    assert "It takes: source (a recording), subtitles (a text)." in caught.value.message


@pytest.mark.usefixtures("diamond")
def test_a_job_is_found_by_each_of_its_batches_and_runs(database: Database, settings: Settings) -> None:
    job_id = ordered(database, settings)
    at_work = split(database, settings)
    for found in at_work.values():
        finish(database, *found)
    claim = at_work["left"][0]
    with database.session() as session:
        assert [view.id for view in list_jobs(session, None, batch_id=claim.batch_id).jobs] == [job_id]
        assert [view.id for view in list_jobs(session, None, run_id=claim.run_id).jobs] == [job_id]
        assert {row.step for row in batch_jobs(session, claim.batch_id)} == {item.step for item in claim.items}
        assert {row.step for row in batch_manifest(session, claim.batch_id)} == {item.step for item in claim.items}
        (last,) = session.execute(text("SELECT count(*) FROM outputs")).one()
    assert last == 0, "they do not deliver"
