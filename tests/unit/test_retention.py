"""What nobody needs any more goes, and nothing else: each kind, the races of orders with sweeps, dry runs, bounds."""

import asyncio
import os
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from audiomill.accounts.space import space_of
from audiomill.accounts.workspaces import keep_for
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Batch, Job, JobEvent, Output, Recording, Upload, WorkItem
from audiomill.errors import BadRequest, NotFound
from audiomill.jobs.batches import leases, working
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.batches.retirement import mark_retired
from audiomill.jobs.events.following import Topic
from audiomill.jobs.events.replay import events_after
from audiomill.jobs.inputs import (
    create_upload,
    find_uploads,
    hold_uploads,
    keep_text,
    received,
    store_text,
    text_input,
    wait_for_deletions,
)
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.retention import schedule
from audiomill.retention.schedule import SWEEPS, would_free
from audiomill.retention.sweeping import Freed, Ground, Sweep
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, ObjectStore, Page
from audiomill.storage.keys import artifact_key, batch_key, output_key, table_key, text_key, upload_key
from tests.fakes.aged_store import AgedStore
from tests.fakes.orders import order, prepare, result, wipe

OLD = 1000


@pytest.fixture(autouse=True)
def _empty(database: Database, store: ObjectStore) -> None:
    wipe(database)
    prepare(database, "acme", "kept")
    for info in store.list_page("").objects:
        store.delete(info.key)


@pytest.fixture
def aged(store: ObjectStore) -> AgedStore:
    return AgedStore(store, days=OLD)


@pytest.fixture
def ground(database: Database, aged: AgedStore, settings: Settings) -> Ground:
    return Ground(database, aged, settings)


def sweep(ground: Ground, *names: str) -> Freed:
    """One piece of the sweeps of these names, of all without any."""
    chosen = [each for each in SWEEPS if not names or each.name in names]
    swept = schedule.sweep(ground, seconds=60, sweeps=chosen)
    assert [each.error for each in swept if each.error] == []
    return sum((each.freed for each in swept), Freed())


def dry(ground: Ground) -> Ground:
    return Ground(ground.database, ground.store, ground.settings, dry_run=True)


def there(store: ObjectStore, key: str) -> bool:
    try:
        store.stat(key)
    except NotFound:
        return False
    return True


def uploaded(database: Database, store: ObjectStore, settings: Settings, *, expired_days: int = OLD) -> str:
    """An upload whose URL expired so long ago, with its bytes."""
    with database.session() as session:
        ticket = create_upload(
            session,
            store,
            workspace_id="acme",
            filename="a.wav",
            content_type="audio/wav",
            size_bytes=5,
            settings=settings,
        )
        session.flush()
        session.execute(
            text("UPDATE uploads SET expires_at = now() - make_interval(days => :days) WHERE id = :id"),
            {"days": expired_days, "id": ticket.id},
        )
    store.put_bytes(ticket.object_key, b"sound")
    return ticket.id


def ordered(database: Database, settings: Settings, store: ObjectStore, upload_id: str) -> str:
    with database.session() as session:
        (upload,) = find_uploads(session, workspace_id="acme", upload_ids=[upload_id])
    given = received(store, upload)
    return order(database, settings, "acme", [NewJob("transcribe", {}, given)]).job_ids[0]


def finished(database: Database, store: ObjectStore, settings: Settings, *, workspace: str = "acme") -> str:
    """A job worked off long ago, with its recording, artifact and output in the store."""
    key = upload_key(workspace, uuid.uuid4().hex)
    store.put_bytes(key, b"sound")
    given = InputObject(key, store.version(key), 5, "a.wav")
    (job_id,) = order(database, settings, workspace, [NewJob("transcribe", {}, given)]).job_ids
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
    with database.session() as session:
        claim = leases.claim(session, batch_id=batch_id, stage="transcribe", run_id=batch_id, settings=settings)
        (item,) = claim.items
        working.begin(session, claim, [item.id])
        made = result(item, claim)
        working.complete(session, claim, item.id, made)
        leases.close(session, claim)
        store.put_bytes(made.artifact.object_key, b"words")
        for output in made.outputs:
            store.put_bytes(output.object_key, b"txt")
        mark_retired(session, [batch_id])
        for table, column in (("jobs", "finished_at"), ("jobs", "created_at"), ("batches", "finished_at")):
            session.execute(text(f"UPDATE {table} SET {column} = now() - make_interval(days => {OLD})"))
    return job_id


def test_an_upload_that_no_order_named_goes_and_one_that_was_ordered_stays(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    abandoned, used, young = (
        uploaded(database, store, settings),
        uploaded(database, store, settings),
        uploaded(database, store, settings, expired_days=0),
    )
    ordered(database, settings, store, used)
    assert sweep(ground) == Freed(rows=1, objects=1, size_bytes=5)
    with database.session() as session:
        assert set(session.scalars(select(Upload.id))) == {used, young}
    assert not there(store, upload_key("acme", abandoned))


def test_an_order_that_is_first_keeps_its_upload(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    upload_id = uploaded(database, store, settings)
    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            (upload,) = find_uploads(session, workspace_id="acme", upload_ids=[upload_id])
            given = received(store, upload)
            hold_uploads(session, [upload])
            swept = pool.submit(sweep, ground, "uploads never ordered")
            time.sleep(0.3)
            assert not swept.done()  # it waits for the order to end
            session.add(
                Recording(
                    id="rec_1",
                    workspace_id="acme",
                    object_key=given.key,
                    object_version=given.version,
                    size_bytes=given.size_bytes,
                )
            )
        assert swept.result(timeout=30) == Freed()
    assert there(store, upload_key("acme", upload_id))


def test_an_order_that_is_second_is_told_that_the_upload_is_gone(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    upload_id = uploaded(database, store, settings)
    with database.session() as session:
        (upload,) = find_uploads(session, workspace_id="acme", upload_ids=[upload_id])
    received(store, upload)
    sweep(ground, "uploads never ordered")
    with database.session() as session, pytest.raises(NotFound, match="no upload"):
        hold_uploads(session, [upload])


def test_what_dropped_attempts_left_goes_and_what_a_row_names_stays(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    job_id = finished(database, store, settings)
    with database.session() as session:
        named = output_key("acme", job_id, 1, 2, "transcript.txt")
        session.execute(text("UPDATE outputs SET object_key = :key"), {"key": named})
    dropped = output_key("acme", job_id, 1, 1, "transcript.txt")
    at_work = order(
        database, settings, "acme", [NewJob("transcribe", {}, InputObject("uploads/acme/x", "v", 1, "a"))]
    ).job_ids[0]
    coming = output_key("acme", at_work, 1, 1, "transcript.txt")
    orphan = artifact_key("acme", "transcribe", "a" * 64, "b" * 64, ".json")
    text_left, upload_left = text_key("acme", "c" * 64), upload_key("acme", uuid.uuid4().hex)
    foreign = "outputs/somebody's own notes.txt"
    for key in (named, dropped, coming, orphan, text_left, upload_left, foreign):
        store.put_bytes(key, b"12345")
    sweep(ground)
    assert [there(store, key) for key in (named, coming, foreign)] == [True] * 3
    assert [there(store, key) for key in (dropped, orphan, text_left, upload_left)] == [False] * 4


def test_what_was_made_anew_since_it_was_listed_stays(
    store: ObjectStore, ground: Ground, aged: AgedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = artifact_key("acme", "transcribe", "a" * 64, "b" * 64, ".json")
    store.put_bytes(key, b"12345")
    list_page = aged.list_page

    def listed_then_made(*given: Any, **named: Any) -> Page:
        page = list_page(*given, **named)
        aged.young.add(key)
        return page

    monkeypatch.setattr(aged, "list_page", listed_then_made)
    assert sweep(ground, "results that no row names") == Freed()
    assert there(store, key)


def test_small_rows_go_at_their_age(database: Database, ground: Ground) -> None:
    """Of lanes and machines that are gone; those of lately stay."""
    with database.session() as session:
        for statement in (
            "INSERT INTO turns (queue, contested, served_at) VALUES (:name, 0, now() - make_interval(days => :days))",
            "INSERT INTO lane_pauses (lane, breaks, note, until) VALUES (:name, 1, '', now() - :days * interval '1d')",
        ):
            for name, days in (("old", OLD), ("young", 0)):
                session.execute(text(statement), {"name": name, "days": days})
        machines = len(session.execute(text("SELECT 1 FROM engine_availability")).all())
    assert sweep(ground, "turns of lanes") == Freed(rows=1)
    assert sweep(ground, "pauses of lanes") == Freed(rows=1)
    assert sweep(ground, "what machines said that are gone") == Freed()
    with database.session() as session:
        session.execute(text(f"UPDATE engine_availability SET heartbeat_at = now() - make_interval(days => {OLD})"))
    assert sweep(ground, "what machines said that are gone") == Freed(rows=machines)
    with database.session() as session:
        assert session.scalars(text("SELECT queue FROM turns")).all() == ["young"]
        assert session.scalars(text("SELECT lane FROM lane_pauses")).all() == ["young"]


def test_changes_of_what_workspaces_keep_are_folded(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    uploaded(database, store, settings)
    with database.session() as session:
        kept = space_of(session, "acme", settings).kept_bytes
    sweep(ground, "changes of what workspaces keep")
    with database.session() as session:
        assert session.execute(text("SELECT 1 FROM usage_changes")).all() == []
        assert space_of(session, "acme", settings).kept_bytes == kept > 0


def test_what_is_young_stays_for_its_row_may_be_on_its_way(store: ObjectStore, ground: Ground, aged: AgedStore) -> None:
    key = artifact_key("acme", "transcribe", "a" * 64, "b" * 64, ".json")
    store.put_bytes(key, b"12345")
    aged.young.add(key)
    assert sweep(ground) == Freed()


def test_files_go_with_their_batch(database: Database, store: ObjectStore, ground: Ground, settings: Settings) -> None:
    finished(database, store, settings)
    with database.session() as session:
        batch_id = session.scalars(select(Batch.id)).one()
        session.execute(text("UPDATE batches SET retired_at = NULL"))
    key = batch_key(batch_id, 1, "manifest.json")
    store.put_bytes(key, b"{}")
    sweep(ground, "files of retired batches")
    assert there(store, key)
    with database.session() as session:
        mark_retired(session, [batch_id])
    sweep(ground, "files of retired batches")
    assert not there(store, key)


def test_daily_tables_go_at_their_age(store: ObjectStore, ground: Ground) -> None:
    store.put_bytes(table_key("transcript_words", "2020-01-01"), b"PAR1")
    assert sweep(ground, "daily tables") == Freed(objects=1, size_bytes=4)


def test_a_result_goes_when_no_job_refers_to_it_and_none_asked_for_it_lately(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    finished(database, store, settings)
    sweep(ground)
    with database.session() as session:
        artifact = session.scalars(select(Artifact)).one()
        session.execute(text("UPDATE work_items SET artifact_key = NULL"))
    assert sweep(ground, "results that no job refers to") == Freed()  # it was used lately
    with database.session() as session:
        session.execute(text("UPDATE artifacts SET used_at = now() - interval '1000 days'"))
    with database.session() as session:
        assert working.find_artifact(session, artifact.key) is not None  # a run is about to refer to it
    assert sweep(ground, "results that no job refers to") == Freed()
    with database.session() as session:
        session.execute(text("UPDATE artifacts SET used_at = now() - interval '1000 days'"))
    assert sweep(ground, "results that no job refers to") == Freed(rows=1, objects=1, size_bytes=5)
    with database.session() as session:
        assert working.find_artifact(session, artifact.key) is None


def test_drafts_of_crashed_writes_go(store: ObjectStore, ground: Ground, settings: Settings) -> None:
    store.put_bytes("outputs/acme/job_1/v1.1/a.txt", b"whole")
    folder = settings.data_dir / "store" / "outputs" / "acme" / "job_1" / "v1.1"
    left, writing, own = folder / f".{'a' * 24}.tmp", folder / f".{'b' * 24}.tmp", folder / ".mine.tmp"
    for path in (left, writing, own):
        path.write_bytes(b"half")
    for path in (left, own):
        os.utime(path, (0, 0))
    assert sweep(ground, "drafts of writes that crashed") == Freed(objects=1, size_bytes=4)
    assert [path.exists() for path in (left, writing, own)] == [False, True, True]


def test_drafts_are_looked_for_piece_by_piece(store: ObjectStore) -> None:
    root: Path = store.root
    for name in ("a/b", "a/c", "a", "d", ""):
        (root / "outputs" / name).mkdir(parents=True, exist_ok=True)
        (root / "outputs" / name / f".{'0' * 24}.tmp").write_bytes(b"half")
    found, after = [], None
    for _ in range(30):
        page = store.drafts(after=after, limit=1)
        found += [draft.name for draft in page.drafts if "0000" in draft.name]
        after = page.next_after
        if after is None:
            break
    assert sorted(found) == sorted(set(found))
    assert len(found) == 5
    for draft in store.drafts(after=None, limit=100).drafts:
        store.discard(draft)


def test_of_an_old_job_the_last_event_is_kept_and_a_late_follower_hears_it(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    job_id = finished(database, store, settings)
    with database.session() as session:
        before = len(session.scalars(select(JobEvent)).all())
    assert sweep(ground, "events of old jobs") == Freed(rows=before - 1)
    with database.session() as session:
        (kept,) = session.scalars(select(JobEvent))
        assert (kept.job_id, kept.state, kept.seq) == (job_id, "complete", before)
    assert sweep(ground, "events of old jobs") == Freed()
    topic = Topic("acme", job_id)
    with database.session() as session:
        topic.extend(events_after(session, workspace_id="acme", job_id=job_id, seq=0))

    async def heard(after: int) -> list[int]:
        return [event.seq async for event in topic.coming(after)]

    for after in (0, 1, before):
        assert asyncio.run(asyncio.wait_for(heard(after), 5)) == ([before] if after < before else [])


def test_an_inbox_entry_goes_when_its_object_stayed_away(
    database: Database, store: ObjectStore, ground: Ground
) -> None:
    for name in ("there", "gone", "back"):
        store.put_bytes(f"inbox/acme/transcribe/{name}.wav", b"sound")
        with database.session() as session:
            session.execute(
                text("INSERT INTO inbox_entries (object_key, signature, outcome) VALUES (:key, 's', 'submitted')"),
                {"key": f"inbox/acme/transcribe/{name}.wav"},
            )
    for name in ("gone", "back"):
        store.delete(f"inbox/acme/transcribe/{name}.wav")
    assert sweep(ground, "inbox entries") == Freed()
    with database.session() as session:
        session.execute(text("UPDATE inbox_entries SET gone_at = gone_at - interval '1000 days'"))
    store.put_bytes("inbox/acme/transcribe/back.wav", b"sound")
    assert sweep(ground, "inbox entries") == Freed(rows=1)
    with database.session() as session:
        left = session.execute(text("SELECT object_key, gone_at FROM inbox_entries ORDER BY object_key")).all()
    assert [tuple(row) for row in left] == [
        ("inbox/acme/transcribe/back.wav", None),
        ("inbox/acme/transcribe/there.wav", None),
    ]


def test_a_key_that_the_database_cannot_hold_does_not_hold_up_the_entries_of_others(
    database: Database, store: ObjectStore, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "inbox/acme/transcribe/there.wav"
    store.put_bytes(key, b"sound")
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO inbox_entries (object_key, signature, outcome) VALUES "
                "(:key, 's', 'submitted'), ('inbox/acme/transcribe/gone.wav', 's', 'submitted')"
            ),
            {"key": key},
        )
    (info,) = store.list_page(key).objects
    odd = replace(info, key="inbox/acme/transcribe/a\0.wav")
    pages = {None: Page((odd,), "inbox/acme/transcribe/a\1"), "inbox/acme/transcribe/a\1": Page((info,), None)}
    monkeypatch.setattr(store, "list_page", lambda *_, after=None, **__: pages[after])
    for _ in pages:
        sweep(ground, "inbox entries")
    with database.session() as session:
        rows = session.execute(text("SELECT object_key FROM inbox_entries WHERE gone_at IS NOT NULL")).scalars().all()
    assert rows == ["inbox/acme/transcribe/gone.wav"]


def test_what_a_listing_leaves_out_is_not_gone(
    database: Database, store: ObjectStore, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is closed for now: its files would be new ones when it opens again."""
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO inbox_entries (object_key, signature, outcome, gone_at) VALUES "
                "('inbox/acme/transcribe/closed/a.wav', 's', 'submitted', NULL), "
                "('inbox/acme/transcribe/closed/b.wav', 's', 'submitted', now() - interval '1000 days'), "
                "('inbox/acme/transcribe/gone.wav', 's', 'submitted', NULL)"
            )
        )
    stat = store.stat

    def refusing(key: str) -> ObjectInfo:
        if "/closed/" in key:
            raise BadRequest("It cannot be read.", code="object_unreadable")
        return stat(key)

    monkeypatch.setattr(store, "stat", refusing)
    assert sweep(ground, "inbox entries") == Freed()
    with database.session() as session:
        rows = session.execute(text("SELECT object_key FROM inbox_entries WHERE gone_at > now() - interval '1 day'"))
        assert list(rows.scalars()) == ["inbox/acme/transcribe/gone.wav"]
        assert session.scalar(text("SELECT count(*) FROM inbox_entries")) == 3


def test_an_entry_behind_a_large_closed_folder_is_found_to_be_gone(
    database: Database, store: ObjectStore, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More entries in it than a piece looks at: these alone were asked for, each time."""
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO inbox_entries (object_key, signature, outcome) "
                "SELECT 'inbox/acme/transcribe/closed/' || n || '.wav', 's', 'submitted' FROM generate_series(1, 7) n "
                "UNION ALL VALUES ('inbox/acme/transcribe/gone.wav', 's', 'submitted')"
            )
        )
    store.put_bytes("inbox/acme/transcribe/there.wav", b"sound")
    stat = store.stat

    def refusing(key: str) -> ObjectInfo:
        if "/closed/" in key:
            raise BadRequest("It cannot be read.", code="object_unreadable")
        return stat(key)

    monkeypatch.setattr(store, "stat", refusing)
    few = ground.settings.model_copy(
        update={"retention": ground.settings.retention.model_copy(update={"rows_per_sweep": 3})}
    )
    for _ in range(4):
        sweep(replace(ground, settings=few), "inbox entries")
    with database.session() as session:
        rows = session.execute(text("SELECT object_key FROM inbox_entries WHERE gone_at IS NOT NULL"))
        assert list(rows.scalars()) == ["inbox/acme/transcribe/gone.wav"]


def test_a_text_that_is_ordered_while_it_is_deleted_is_there(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "abandoned long ago"
    given = text_input(workspace_id="acme", text=words, settings=settings)
    store_text(store, given, words)
    delete = store.delete
    ordered = threading.Event()

    def ordering() -> None:
        store_text(store, given, words)
        order(database, settings, "acme", [NewJob("synthesize", {}, given)])
        ordered.set()
        with database.session() as session:
            wait_for_deletions(session, "acme")
        keep_text(store, given, words)

    with ThreadPoolExecutor(1) as pool:

        def order_first(key: str) -> None:
            """The sweep has looked for the last time."""
            waiting.append(pool.submit(ordering))
            assert ordered.wait(60)
            time.sleep(0.3)
            delete(key)

        waiting: list[Future[None]] = []
        monkeypatch.setattr(store, "delete", order_first)
        assert sweep(ground, "texts never ordered").objects == 1
        (order_made,) = waiting
        order_made.result(60)
    assert store.get_bytes(given.key) == words.encode()
    monkeypatch.undo()
    assert sweep(ground, "texts never ordered") == Freed()


def test_a_workspace_keeps_what_it_has_unless_it_says_for_how_long(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    gone, kept = finished(database, store, settings), finished(database, store, settings, workspace="kept")
    with database.session() as session:
        objects = set(session.scalars(select(Output.object_key).where(Output.job_id == gone)))
        objects |= set(session.scalars(select(Recording.object_key).where(Recording.workspace_id == "acme")))
    name = "jobs, outputs and recordings of workspaces"
    assert sweep(ground, name) == Freed()
    with database.session() as session:
        keep_for(session, "acme", 90)
    sweep(ground, name)
    with database.session() as session:
        assert list(session.scalars(select(Job.id))) == [kept]
        assert {row.workspace_id for row in session.scalars(select(Recording))} == {"kept"}
        assert len(session.scalars(select(WorkItem)).all()) == 1
    assert not any(there(store, key) for key in objects)
    sweep(ground, "batches without items")
    with database.session() as session:
        assert len(session.scalars(select(Batch)).all()) == 1


def test_a_recording_stays_as_long_as_another_job_names_it(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    finished(database, store, settings)
    with database.session() as session:
        keep_for(session, "acme", 90)
        recording = session.scalars(select(Recording)).one()
    given = InputObject(recording.object_key, recording.object_version, 5, "a.wav")
    order(database, settings, "acme", [NewJob("transcribe", {}, given)])
    sweep(ground, "jobs, outputs and recordings of workspaces")
    assert there(store, recording.object_key)
    with database.session() as session:
        assert session.scalars(select(Job.state)).all() == ["queued"]


def test_an_inbox_file_that_was_dropped_again_stays(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    finished(database, store, settings)
    key = "inbox/acme/transcribe/a.wav"
    with database.session() as session:
        keep_for(session, "acme", 90)
        session.execute(text("UPDATE recordings SET object_key = :key"), {"key": key})
    store.put_bytes(key, b"other bytes")
    sweep(ground, "jobs, outputs and recordings of workspaces")
    assert there(store, key)


def test_a_workspace_keeps_a_day_at_least(database: Database) -> None:
    with database.session() as session, pytest.raises(BadRequest, match="a day at least"):
        keep_for(session, "acme", 0)


def test_a_dry_run_tells_what_would_go_and_changes_nothing(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    finished(database, store, settings)
    uploaded(database, store, settings)
    store.put_bytes(output_key("acme", "job_gone", 1, 1, "a.txt"), b"12345")
    with database.session() as session:
        keep_for(session, "acme", 90)
    told = {each.sweep.name: each.freed for each in would_free(dry(ground))}
    assert told == {each.sweep.name: each.freed for each in would_free(dry(ground))}
    assert told["uploads never ordered"] == Freed(rows=1, objects=1, size_bytes=5)
    assert told["jobs, outputs and recordings of workspaces"].rows > 0
    assert told["outputs of dropped attempts"] == Freed(objects=1, size_bytes=5)
    swept = {each.sweep.name: each.freed for each in schedule.sweep(ground, seconds=60)}
    assert swept["uploads never ordered"] == told["uploads never ordered"]


def test_a_piece_is_bounded_and_the_next_goes_on(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    for _ in range(5):
        uploaded(database, store, settings)
    bounded = settings.model_copy(update={"retention": settings.retention.model_copy(update={"rows_per_sweep": 2})})
    small = Ground(database, ground.store, bounded)
    assert [sweep(small, "uploads never ordered").rows for _ in range(4)] == [2, 2, 1, 0]


def test_a_piece_of_each_kind_is_bounded(
    database: Database, store: ObjectStore, ground: Ground, settings: Settings
) -> None:
    """A tick may last a minute, whatever has piled up."""
    bounded = settings.model_copy(update={"retention": settings.retention.model_copy(update={"rows_per_sweep": 2})})
    small = Ground(database, ground.store, bounded)
    kinds = {
        "outputs of dropped attempts": [output_key("acme", f"job_{n}", 1, 1, "a.txt") for n in range(5)],
        "results that no row names": [artifact_key("acme", "transcribe", str(n) * 64, "b" * 64, "") for n in range(5)],
        "texts never ordered": [text_key("acme", str(n) * 64) for n in range(5)],
        "uploads that no row names": [upload_key("acme", f"{n}" * 32) for n in range(5)],
        "files of retired batches": [batch_key(f"b{n}", 1, "manifest.json") for n in range(5)],
        "daily tables": [table_key("transcript_words", f"2020-01-0{n + 1}") for n in range(5)],
    }
    for name, object_keys in kinds.items():
        for key in object_keys:
            store.put_bytes(key, b"12345")
        assert [sweep(small, name).objects for _ in range(3)] == [2, 2, 1], name


def test_a_sweep_that_fails_is_told_and_stops_no_other(database: Database, ground: Ground) -> None:
    ran = []

    def breaks(_ground: Ground, _place: str | None) -> tuple[Freed, str | None]:
        raise RuntimeError("no")

    def works(_ground: Ground, place: str | None) -> tuple[Freed, str | None]:
        ran.append(place)
        return Freed(rows=1), "here"

    sweeps = [Sweep("breaks", "", breaks), Sweep("works", "", works)]
    for _ in range(2):
        swept = schedule.sweep(ground, seconds=60, sweeps=sweeps)
        assert {each.sweep.name: each.error for each in swept} == {"breaks": "RuntimeError", "works": None}
    assert ran == [None, "here"]


def test_uploads_in_parts_that_never_ended_are_drafts(s3_server: str) -> None:
    import boto3

    from audiomill.settings import StorageSettings
    from audiomill.storage.s3 import S3Store

    store = S3Store(StorageSettings(kind="s3", bucket="mill", prefix="p", endpoint_url=s3_server))
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    started = client.create_multipart_upload(Bucket="mill", Key="p/uploads/acme/upl_1")
    client.upload_part(
        Bucket="mill", Key="p/uploads/acme/upl_1", UploadId=started["UploadId"], PartNumber=1, Body=b"half"
    )
    (draft,) = store.drafts(after=None, limit=10).drafts
    assert (draft.name, draft.size_bytes) == ("uploads/acme/upl_1", 4)
    assert draft.age_seconds >= 0
    store.discard(draft)
    store.discard(draft)
    assert store.drafts(after=None, limit=10).drafts == ()
    store.put_bytes("a", b"1")
    assert store.stat("a").age_seconds < 60
    assert store.list_page("").objects[0].age_seconds < 60
    client.close()
    store.close()


def test_the_command_tells_and_frees(
    database: Database, store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from audiomill.cli.main import app
    from audiomill.settings import get_settings

    uploaded(database, store, settings)
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("AUDIOMILL_DATABASE__URL", settings.database.url or "")
    monkeypatch.setenv("AUDIOMILL_DATABASE__DAGSTER_URL", settings.database.dagster_url or "")
    get_settings.cache_clear()
    try:
        said = [
            CliRunner().invoke(app, arguments, catch_exceptions=False).output
            for arguments in (
                ["retention", "--dry-run"],
                ["retention"],
                ["retention"],
                ["workspaces", "keep", "acme", "--days", "90"],
                ["workspaces", "keep", "acme"],
            )
        ]
    finally:
        get_settings.cache_clear()
    assert "Would free 1 rows and 1 objects of 5 bytes." in said[0]
    assert "Freed 1 rows and 1 objects of 5 bytes." in said[1]
    assert "Freed 0 rows" in said[2]
    assert "keeps its jobs for 90 days" in said[3]
    assert "keeps its jobs for ever" in said[4]
