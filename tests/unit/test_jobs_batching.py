"""Forming batches: fair, tiered, sized by backlog, bounded, and safe with several writers at once."""

import math
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event, select, text

from audiomill.database.connection import Database
from audiomill.database.tables import Batch, EngineSpeed, WorkItem, WorkspaceSpeed
from audiomill.errors import Conflict
from audiomill.jobs.batches import leases, working
from audiomill.jobs.batches.forming import form_batches, mark_requested, startable
from audiomill.jobs.batches.gathering import gather
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.speeds import Speeds
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, result, wipe
from tests.fakes.reading import rows_read


@pytest.fixture(autouse=True)
def _workspaces(database: Database) -> None:
    wipe(database)
    prepare(database, "acme", "small", "gold", tiers={"gold": 9})


def with_(settings: Settings, **batching: float) -> Settings:
    return settings.model_copy(update={"batching": settings.batching.model_copy(update=batching)})


def form(database: Database, settings: Settings, *, limit: int = 50) -> list[str]:
    with database.session() as session:
        return form_batches(session, settings, limit=limit)


def items_of(database: Database, batch_id: str) -> list[WorkItem]:
    with database.session() as session:
        return list(session.scalars(select(WorkItem).where(WorkItem.batch_id == batch_id)))


def batches(database: Database) -> list[Batch]:
    with database.session() as session:
        return list(session.scalars(select(Batch).order_by(Batch.id)))


def test_one_file_on_an_idle_lane_does_not_wait(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(1))
    assert len(form(database, settings)) == 1


def test_nothing_queued_forms_nothing(database: Database, settings: Settings) -> None:
    assert form(database, settings) == []


def test_backlog_is_shared_out_over_the_slots(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(300))
    form(database, settings)
    assert sorted(batch.item_count for batch in batches(database)) == [150, 150]


def test_a_backlog_of_crumbs_is_one_batch(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(10))
    form(database, settings)
    assert [batch.item_count for batch in batches(database)] == [10]


def test_no_batch_is_larger_than_max_items(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(90))
    form(database, with_(settings, max_items=20, queue_factor=50))
    assert max(batch.item_count for batch in batches(database)) <= 20
    assert sum(batch.item_count for batch in batches(database)) == 90


def test_long_recordings_are_cut_by_their_length(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(8, size_bytes=176_400 * 1000))
    many = settings.model_copy(update={"cpu": settings.cpu.model_copy(update={"cpu_runs": 9})})
    form(database, with_(many, max_audio_seconds=2000))
    assert all(batch.audio_seconds <= 3000 for batch in batches(database))
    assert sum(batch.item_count for batch in batches(database)) == 8


def test_short_and_long_do_not_share_a_batch(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", [*audio(2), *audio(2, size_bytes=176_400 * 1000)])
    form(database, settings)
    for batch in batches(database):
        assert len({item.length_class for item in items_of(database, batch.id)}) == 1


def test_a_thousand_files_do_not_stand_before_another_customers_one(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(1000))
    order(database, settings, "small", audio(1))
    first, *_ = form(database, settings, limit=1)
    workspaces = Counter(item.workspace_id for item in items_of(database, first))
    assert workspaces["small"] == 1


def test_behind_workspaces_whose_items_rest_the_next_one_is_reached(database: Database, settings: Settings) -> None:
    """More of them than a batch has places: they alone were looked at, at every tick."""
    prepare(database, "a", "b", "c", "d")
    for workspace in ("a", "b", "c"):
        order(database, settings, workspace, audio(1))
    with database.session() as session:
        session.execute(text("UPDATE work_items SET available_at = clock_timestamp() + interval '1 hour'"))
    order(database, settings, "d", audio(1))
    narrow = with_(settings, max_items=2, max_wait_seconds=0)
    formed = [batch_id for _ in range(3) for batch_id in form(database, narrow)]
    assert [item.workspace_id for batch_id in formed for item in items_of(database, batch_id)] == ["d"]
    # A lane that was looked at in vain is not served by that: its turn among the lanes is as it was.
    order(database, settings, "d", audio(1, size_bytes=176_400 * 1000))
    with database.session() as session:
        served = dict(session.execute(text("SELECT queue, served_at FROM turns")).tuples().all())
        session.execute(text("UPDATE batches SET state = 'closed'"))
    form(database, narrow)
    with database.session() as session:
        again = dict(session.execute(text("SELECT queue, served_at FROM turns")).tuples().all())
    short = next(queue for queue in served if queue.endswith("|short"))
    assert again[short] == served[short]


def test_two_customers_share_alike(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(500))
    order(database, settings, "small", audio(500))
    first, *_ = form(database, settings, limit=1)
    shares = Counter(item.workspace_id for item in items_of(database, first))
    assert abs(shares["acme"] - shares["small"]) <= 1


def test_a_higher_tier_goes_first(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(50))
    order(database, settings, "gold", audio(1))
    (first,) = form(database, settings, limit=1)
    assert [item.workspace_id for item in items_of(database, first)] == ["gold"]


def test_while_the_queue_is_long_nothing_is_formed(database: Database, settings: Settings) -> None:
    for _ in range(3):
        order(database, settings, "acme", audio(1000))
    formed = form(database, settings)
    assert len(formed) == settings.cpu.cpu_runs * settings.batching.queue_factor
    assert form(database, settings) == []


def test_on_a_busy_lane_a_batch_waits_until_it_is_full_or_old(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(16))
    form(database, settings)
    assert len(batches(database)) == settings.cpu.cpu_runs
    with database.session() as session:
        session.execute(text("UPDATE batches SET state = 'running', run_id = id"))
    order(database, settings, "acme", audio(5))
    assert form(database, settings) == []
    with database.session() as session:
        session.execute(text("UPDATE work_items SET created_at = created_at - interval '1 minute'"))
    assert len(form(database, settings)) == 1


def test_a_run_is_asked_for_once(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(1))
    (batch_id,) = form(database, settings)
    with database.session() as session:
        assert [batch.id for batch in startable(session)] == [batch_id]
        # A tick that was lost before this line leaves the batch startable.
        mark_requested(session, [batch_id])
    with database.session() as session:
        assert startable(session) == []


def test_several_writers_at_once_lose_and_double_nothing(database: Database, settings: Settings) -> None:
    config = with_(settings, queue_factor=1000, max_wait_seconds=0, max_items=7)
    stop = threading.Event()
    cancelled: list[str] = []

    def forming() -> list[str]:
        formed: list[str] = []
        while not stop.is_set():
            formed += form(database, config)
        return formed + form(database, config)

    def submitting(workspace: str) -> list[str]:
        return [job for _ in range(6) for job in order(database, config, workspace, audio(20)).job_ids]

    def cancelling(job_ids: list[str]) -> None:
        for job_id in job_ids[::3]:
            with database.session() as session:
                try:
                    cancel_job(session, workspace_id="acme", job_id=job_id)
                    cancelled.append(job_id)
                except Conflict:
                    pytest.fail("nothing had run yet")

    with ThreadPoolExecutor(10) as pool:
        formers = [pool.submit(forming) for _ in range(4)]
        submitters = [pool.submit(submitting, workspace) for workspace in ("acme", "small", "gold")]
        jobs = [submitter.result() for submitter in submitters]
        pool.submit(cancelling, jobs[0]).result()
        stop.set()
        formed = [batch_id for former in formers for batch_id in former.result()]
    form(database, config)
    assert len(formed) == len(set(formed))
    with database.session() as session:
        states = Counter(session.scalars(select(WorkItem.state)))
        sizes = session.execute(
            text(
                "SELECT b.item_count, count(w.id) AS held FROM batches b "
                "JOIN work_items w ON w.batch_id = b.id GROUP BY b.id"
            )
        ).all()
    assert states == {"batched": 360 - len(cancelled), "cancelled": len(cancelled)}
    # A cancelled item keeps its batch's id, for the record: so the counts agree exactly.
    assert all(row.item_count == row.held for row in sizes)
    assert all(batch.item_count <= 7 for batch in batches(database))


def test_an_item_that_is_being_cancelled_is_passed_over(database: Database, settings: Settings) -> None:
    first, second = order(database, settings, "acme", audio(2)).job_ids
    with ThreadPoolExecutor(1) as pool, database.session() as session:
        cancel_job(session, workspace_id="acme", job_id=first)
        # The cancellation is not committed yet: forming must neither wait for it nor take its item.
        (batch_id,) = pool.submit(form, database, settings).result(timeout=120)
    assert [item.job_id for item in items_of(database, batch_id)] == [second]


def test_while_another_writer_forms_nothing_is_formed(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(16))
    with ThreadPoolExecutor(1) as pool, database.session() as session:
        assert len(form_batches(session, settings)) == 2
        order(database, settings, "acme", audio(16))
        # The other does not see the first one's batches yet: it would take the slots for idle and overfill them.
        assert pool.submit(form, database, settings).result(timeout=120) == []


def locked_by_others(database: Database) -> int:
    """Queued items that another transaction holds."""
    with database.session() as session:
        queued = session.scalar(text("SELECT count(*) FROM work_items WHERE state = 'queued'"))
        free = session.scalars(text("SELECT id FROM work_items WHERE state = 'queued' FOR UPDATE SKIP LOCKED")).all()
        return int(queued or 0) - len(free)


def end_all(database: Database) -> list[str]:
    """Every open batch ends, as if its run had been quick. Returns the lanes."""
    with database.session() as session:
        session.execute(text("UPDATE work_items SET state = 'complete' WHERE state = 'batched'"))
        return list(
            session.scalars(
                text("UPDATE batches SET state = 'closed' WHERE state IN ('formed', 'running') RETURNING lane")
            )
        )


def test_what_is_not_formed_is_neither_read_nor_locked(database: Database, settings: Settings) -> None:
    many = [f"w{number}" for number in range(60)]
    prepare(database, *many)
    for workspace in many:
        order(database, settings, workspace, audio(20))
    with ThreadPoolExecutor(1) as pool, database.session() as session:
        with rows_read(session) as read:
            assert len(form_batches(session, with_(settings, max_items=10, queue_factor=1))) == 2
        # As many workspaces looked up as items are wanted, and each item formed read a few times; 1,200 wait.
        assert read["work_items"] < 200
        assert pool.submit(locked_by_others, database).result(timeout=120) == 20


def test_many_that_rest_are_walked_over_once(database: Database, settings: Settings) -> None:
    """Asked for page by page, each page from the first again, 100,000 of them took longer than a tick may."""
    order(database, settings, "acme", audio(40))
    asked: list[str] = []
    with database.session() as session:
        newest = session.scalars(select(WorkItem.id).order_by(WorkItem.created_at.desc(), WorkItem.id.desc())).first()
        session.execute(
            text("UPDATE work_items SET available_at = clock_timestamp() + interval '1 hour' WHERE id <> :id"),
            {"id": newest},
        )

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with database.session() as session:
            gathered = gather(
                session, lane_of_all(database), after="", most_items=2, most_seconds=1e9, most_expected_seconds=1e9
            )
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert gathered.item_ids == (newest,)
    assert len(asked) <= 3


def lane_of_all(database: Database) -> str:
    with database.session() as session:
        return session.scalars(select(WorkItem.lane).distinct()).one()


def test_where_there_is_no_room_nothing_is_read(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(1000))
    form(database, with_(settings, max_items=10))
    with database.session() as session:
        with rows_read(session) as read:
            assert form_batches(session, with_(settings, max_items=10)) == []
        assert read["work_items"] <= 2  # the lane's head, for the classes that do have room


def test_more_workspaces_than_a_batch_holds_come_round_in_turn(database: Database, settings: Settings) -> None:
    many = [f"w{number}" for number in range(9)]
    prepare(database, *many)
    for workspace in many:
        order(database, settings, workspace, audio(4))
    one_slot = settings.model_copy(update={"cpu": settings.cpu.model_copy(update={"cpu_runs": 1})})
    served: Counter[str] = Counter()
    for _ in range(9):
        for batch_id in form(database, with_(one_slot, max_items=4), limit=1):
            served.update(item.workspace_id for item in items_of(database, batch_id))
        assert max(served.values()) - min(served.get(workspace, 0) for workspace in many) <= 1
        end_all(database)
    assert served == dict.fromkeys(many, 4)


def test_a_sustained_higher_tier_leaves_the_lower_ones_a_share(database: Database, settings: Settings) -> None:
    prepare(database, "silver", tiers={"silver": 5})
    one_at_a_time = with_(settings, max_items=2, queue_factor=1)
    tiers: Counter[str] = Counter()
    for workspace in ("acme", "silver", "gold"):
        order(database, settings, workspace, audio(200))
    for _ in range(32):
        form(database, one_at_a_time, limit=1)
        (lane,) = end_all(database)
        tiers[lane.split("|")[4]] += 1
        order(database, settings, "gold", audio(2))  # there is always more of it
    assert tiers == {"9": 24, "5": 6, "0": 2}


def test_lanes_of_a_tier_take_turns(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(500))
    order(database, settings, "small", audio(3, size_bytes=176_400 * 100))
    lengths = []
    for _ in range(4):
        form(database, with_(settings, max_items=2, queue_factor=1), limit=1)
        lengths += [lane.split("|")[5] for lane in end_all(database)]
    assert sorted(lengths[:2]) == sorted(lengths[2:]) == ["medium", "short"]


@pytest.mark.parametrize(("resource_class", "slots"), [("gpu", 64), ("remote", 16)])
def test_each_class_is_sized_by_its_own_slots(
    database: Database, settings: Settings, resource_class: str, slots: int
) -> None:
    order(database, settings, "acme", audio(300))
    with database.session() as session:
        session.execute(text("UPDATE work_items SET resource_class = :name"), {"name": resource_class})
    cpu = settings.cpu.model_copy(update={f"{resource_class}_runs": slots})
    formed = form(database, with_(settings.model_copy(update={"cpu": cpu}), max_items=20), limit=200)
    size = math.ceil(300 / min(slots, 300 // settings.batching.min_items))
    assert len(formed) == math.ceil(300 / size)
    assert max(batch.item_count for batch in batches(database)) == size


def texts(count: int, characters: int) -> list[NewJob]:
    batch = uuid.uuid4().hex
    return [
        NewJob(
            "synthesize",
            {},
            InputObject(f"texts/{batch}/{index}", "v1", characters, "a.txt", characters=characters, kind="text"),
        )
        for index in range(count)
    ]


def lanes(database: Database) -> Counter[str]:
    return Counter(batch.lane.rpartition("|")[2] for batch in batches(database) if batch.state != "closed")


def speeds_of(database: Database, engine: str, factor: float) -> None:
    with database.session() as session:
        session.merge(EngineSpeed(engine=engine, model="", resource_class="cpu", factor=factor))


def test_long_texts_leave_a_slot_to_what_is_short(database: Database, settings: Settings) -> None:
    speeds_of(database, "espeak-ng", 0.01)
    order(database, settings, "acme", texts(4, 500_000))
    order(database, settings, "acme", audio(4, size_bytes=176_400 * 1000))
    eager = with_(settings, max_wait_seconds=0)
    form(database, eager)
    form(database, eager)
    assert sum(lanes(database).values()) == 1
    order(database, settings, "acme", audio(2))
    form(database, eager)
    assert lanes(database)["short"] == 1
    assert sum(lanes(database).values()) == 2
    with database.session() as session:
        session.execute(text("UPDATE batches SET state = 'closed' WHERE lane NOT LIKE '%|short'"))
    form(database, eager)
    # Both lanes of what is long take turns.
    assert len({batch.lane for batch in batches(database)}) == 3


def test_what_is_of_medium_length_may_take_the_slot_kept_from_long(database: Database, settings: Settings) -> None:
    """The ordinary file: one long recording must not hold up every one of them beside an idle slot."""
    eager = with_(settings, max_wait_seconds=0)
    order(database, settings, "acme", audio(4, size_bytes=176_400 * 1000))
    form(database, eager)
    assert lanes(database) == {"long": 1}
    order(database, settings, "small", audio(4, size_bytes=176_400 * 100))
    form(database, eager)
    assert lanes(database)["long"] == 1
    assert lanes(database)["medium"] >= 1


def test_beside_short_batches_a_higher_tiers_long_ones_get_their_share(database: Database, settings: Settings) -> None:
    """While the slot for long is taken, the lower tier's turn is not kept for the moment when it is free again."""
    eager = with_(settings, max_items=2, queue_factor=1, max_wait_seconds=0)
    for workspace in ("gold", "acme"):
        order(database, settings, workspace, texts(60, 500_000))
    tiers: Counter[str] = Counter()
    for tick in range(120):
        order(database, settings, "gold", audio(8))
        form(database, eager)
        with database.session() as session:
            session.execute(text("UPDATE batches SET state = 'closed' WHERE lane LIKE '%|short'"))
        if tick % 3 == 2:  # a long run outlasts some short ones
            tiers.update(lane.split("|")[4] for lane in end_all(database))
    assert tiers.total() == 40
    assert 28 <= tiers["9"] <= 32


def test_where_there_is_one_slot_all_lengths_take_turns(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", texts(2, 500_000))
    order(database, settings, "acme", audio(2))
    one = settings.model_copy(update={"cpu": settings.cpu.model_copy(update={"cpu_runs": 1})})
    form(database, one)
    assert lanes(database) == {"long": 1, "short": 1}


def test_the_length_class_goes_by_what_the_engine_will_take(database: Database, settings: Settings) -> None:
    """The same text on an engine that speaks at a hundredth of real time, and at half of it."""
    found = []
    for factor in (0.01, 0.5, 0.05):
        speeds_of(database, "espeak-ng", factor)
        order(database, settings, "acme", texts(1, 16_600))
        with database.session() as session:
            newest = select(WorkItem).order_by(WorkItem.created_at.desc()).limit(1)
            item = session.scalars(newest).one()
            found.append((item.length_class, round(item.expected_seconds)))
    assert found == [("short", 10), ("long", 500), ("medium", 50)]


def test_batches_are_cut_by_what_the_engine_will_take(database: Database, settings: Settings) -> None:
    speeds_of(database, "pocketsphinx", 2.0)
    order(database, settings, "acme", audio(60, size_bytes=176_400 * 9))
    form(database, with_(settings, max_engine_seconds=180, queue_factor=50))
    assert {batch.item_count for batch in batches(database)} == {10}


def test_a_batch_that_was_worked_off_tells_how_fast_its_engine_is(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(3))
    (batch_id,) = form(database, settings)
    with database.session() as session:
        claim = leases.claim(session, batch_id=batch_id, stage="transcribe", run_id="run", settings=settings)
        working.begin(session, claim, [item.id for item in claim.items])
        for item in claim.items[:2]:
            working.complete(session, claim, item.id, replace(result(item, claim), processing_seconds=0.25))
        working.complete(
            session, claim, claim.items[2].id, replace(result(claim.items[2], claim), processing_seconds=0.0)
        )
    for _ in range(2):  # sent again: it counts once
        with database.session() as session:
            leases.close(session, claim)
    with database.session() as session:
        speed = session.scalars(select(WorkspaceSpeed)).one()
        expected = Speeds.now(session).expected_seconds(100, engine="pocketsphinx", model=None, resource_class="cpu")
    assert (speed.audio_seconds, speed.engine_seconds, expected) == (2.0, 0.5, 25.0)


def test_one_workspace_does_not_bend_an_engines_speed_for_the_others(database: Database, settings: Settings) -> None:
    """It orders more than all others together, of what the engine is done with in no time."""
    prepare(database, "odd")
    for workspace, factor in [("acme", 0.5), ("small", 0.4), ("gold", 0.6), *[("odd", 0.001)] * 12]:
        order(database, settings, workspace, audio(2))
        (batch_id,) = form(database, settings)
        with database.session() as session:
            claim = leases.claim(session, batch_id=batch_id, stage="transcribe", run_id=batch_id, settings=settings)
            working.begin(session, claim, [item.id for item in claim.items])
            for item in claim.items:
                working.complete(session, claim, item.id, replace(result(item, claim), processing_seconds=factor))
            leases.close(session, claim)
    with database.session() as session:
        expected = Speeds.now(session).expected_seconds(100, engine="pocketsphinx", model=None, resource_class="cpu")
    assert expected == pytest.approx(40)
