"""What a workspace keeps is counted right whatever happens to its rows, is bounded, and holds nobody up."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic import command
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text
from typer.testing import CliRunner

from audiomill.accounts.space import allow, fold, measure_results, recount, space_of, spaces
from audiomill.accounts.workspaces import keep_for
from audiomill.cli.main import app
from audiomill.database.connection import Database
from audiomill.database.migrate import alembic_config, upgrade
from audiomill.errors import NotFound, QuotaExceeded
from audiomill.inbox.entries import recent_entries
from audiomill.inbox.sweep import take_page
from audiomill.jobs.batches import leases, working
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.batches.leases import Claim
from audiomill.jobs.cancellation import cancel_job
from audiomill.jobs.inputs import create_upload
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.retention import schedule
from audiomill.retention.sweeping import Ground
from audiomill.settings import Settings, get_settings
from audiomill.storage import ObjectStore
from tests.fakes.aged_store import AgedStore
from tests.fakes.orders import audio, order, prepare, rested, result, wipe


@pytest.fixture(autouse=True)
def _empty(database: Database, store: ObjectStore) -> None:
    start_anew(database)
    for info in store.list_page("").objects:
        store.delete(info.key)


def start_anew(database: Database) -> None:
    wipe(database)
    prepare(database, "acme", "rival")


def kept(database: Database, settings: Settings, workspace: str = "acme") -> int:
    with database.session() as session:
        return space_of(session, workspace, settings).kept_bytes


def counted_anew(database: Database, settings: Settings) -> int:
    """Rolled back: what the counters say stays."""
    with database.session() as session:
        recount(session)
        found = space_of(session, "acme", settings).kept_bytes
        session.rollback()
        return found


def announce(database: Database, store: ObjectStore, settings: Settings, size_bytes: int) -> str:
    with database.session() as session:
        ticket = create_upload(
            session,
            store,
            workspace_id="acme",
            filename="a.wav",
            content_type="audio/wav",
            size_bytes=size_bytes,
            settings=settings,
        )
    return ticket.object_key


def upload_of(key: str, size_bytes: int) -> list[NewJob]:
    return [NewJob("transcribe", {}, InputObject(key, "v1", size_bytes, "a.wav"))]


def claimed(database: Database, settings: Settings) -> list[Claim]:
    rested(database)
    with database.session() as session:
        batches = form_batches(session, settings)
    claims = []
    for batch_id in batches:
        with database.session() as session:
            claims.append(
                leases.claim(session, batch_id=batch_id, stage="transcribe", run_id=batch_id, settings=settings)
            )
    return claims


def complete(database: Database, claim: Claim) -> None:
    for item in claim.items:
        with database.session() as session:
            if working.begin(session, claim, [item.id]):
                working.complete(session, claim, item.id, result(item, claim))
    with database.session() as session:
        leases.close(session, claim)


def bounded(settings: Settings, workspace_bytes: int) -> Settings:
    return settings.model_copy(
        update={"limits": settings.limits.model_copy(update={"workspace_bytes": workspace_bytes})}
    )


def test_each_thing_counts_once(database: Database, store: ObjectStore, settings: Settings) -> None:
    key = announce(database, store, settings, 100)
    assert kept(database, settings) == 100
    order(database, settings, "acme", upload_of(key, 100))
    order(database, settings, "acme", upload_of(key, 100))
    assert kept(database, settings) == 100  # a recording now, of two jobs
    (claim,) = claimed(database, settings)
    complete(database, claim)
    assert kept(database, settings) == 100 + 2 * (5 + 3)  # a result and an output for each
    with database.session() as session:
        fold(session)
    assert kept(database, settings) == 116 == counted_anew(database, settings)
    assert kept(database, settings, "rival") == 0


ACTIONS = ("announce", "order", "order upload", "complete", "cancel", "age and sweep", "fold")


@hypothesis_settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 500)), min_size=4, max_size=14))
def test_counters_are_what_counting_anew_comes_to(
    database: Database, store: ObjectStore, settings: Settings, actions: list[tuple[str, int]]
) -> None:
    start_anew(database)
    with database.session() as session:
        keep_for(session, "acme", 30)
    ground = Ground(database, AgedStore(store, days=1000), settings)
    announced: list[tuple[str, int]] = []
    jobs: list[str] = []
    for action, size_bytes in actions:
        if action == "announce":
            announced.append((announce(database, store, settings, size_bytes), size_bytes))
        elif action == "order":
            jobs += order(database, settings, "acme", audio(size_bytes % 3 + 1, size_bytes=size_bytes)).job_ids
        elif action == "order upload" and announced:
            key, size = announced[size_bytes % len(announced)]
            jobs += order(database, settings, "acme", upload_of(key, size)).job_ids
        elif action == "complete":
            for claim in claimed(database, settings):
                complete(database, claim)
        elif action == "cancel" and jobs:
            cancel(database, jobs[size_bytes % len(jobs)])
        elif action == "age and sweep":
            age(database)
            swept = schedule.sweep(ground, seconds=60, sweeps=schedule.SWEEPS)
            assert [each.error for each in swept if each.error] == []
            announced.clear()
        elif action == "fold":
            with database.session() as session:
                fold(session)
        assert kept(database, settings) == counted_anew(database, settings)


def cancel(database: Database, job_id: str) -> None:
    with database.session() as session:
        if session.scalar(text("SELECT state FROM jobs WHERE id = :id"), {"id": job_id}) == "queued":
            cancel_job(session, workspace_id="acme", job_id=job_id)


def age(database: Database) -> None:
    long_ago = "now() - interval '1000 days'"
    with database.session() as session:
        for table, column in (("uploads", "expires_at"), ("jobs", "created_at"), ("artifacts", "used_at")):
            session.execute(text(f"UPDATE {table} SET {column} = {long_ago}"))
        session.execute(text(f"UPDATE jobs SET finished_at = {long_ago} WHERE finished_at IS NOT NULL"))


def test_a_workspace_that_goes_takes_its_count_along(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(3))
    (claim,) = claimed(database, settings)
    complete(database, claim)
    with database.session() as session:
        session.execute(text("UPDATE work_items SET batch_id = NULL"))
        session.execute(text("DELETE FROM jobs WHERE workspace_id = 'acme'"))
        session.execute(text("DELETE FROM workspaces WHERE id = 'acme'"))
    with database.session() as session:
        fold(session)
        assert session.scalar(text("SELECT count(*) FROM usage_changes")) == 0
        assert [space.workspace_id for space in spaces(session, settings)] == ["rival"]
        with pytest.raises(NotFound):
            space_of(session, "acme", settings)


def test_past_the_bound_nothing_new_is_taken_and_what_is_under_way_is_delivered(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    tight = bounded(settings, 1000)
    order(database, tight, "acme", audio(2, size_bytes=250))
    key = announce(database, store, tight, 500)
    with pytest.raises(QuotaExceeded, match=r"keeps 1,000 bytes of the 1,000 bytes .*brings 1 bytes more") as refused:
        announce(database, store, tight, 1)
    assert refused.value.code == "workspace_full"
    with pytest.raises(QuotaExceeded):
        order(database, tight, "acme", audio(1, size_bytes=1))
    assert order(database, tight, "acme", upload_of(key, 500)).created  # it is kept already
    for claim in claimed(database, tight):
        complete(database, claim)
    with database.session() as session:
        assert set(session.scalars(text("SELECT state FROM jobs"))) == {"complete"}
    assert kept(database, tight) == 1000 + 3 * 8
    with pytest.raises(QuotaExceeded):
        order(database, tight, "acme", upload_of(key, 500))
    assert order(database, tight, "rival", audio(1)).created
    with database.session() as session:
        allow(session, "acme", 10**6)
    assert order(database, tight, "acme", upload_of(key, 500)).created
    with database.session() as session:
        allow(session, "acme", None)
    with pytest.raises(QuotaExceeded):
        order(database, tight, "acme", audio(1))


def test_a_repeated_order_is_answered_though_the_workspace_is_full(database: Database, settings: Settings) -> None:
    jobs = audio(1, size_bytes=1000)
    first = order(database, settings, "acme", jobs, key="mine")
    assert order(database, bounded(settings, 1), "acme", jobs, key="mine").job_ids == first.job_ids


def test_objects_of_the_inbox_wait_for_room_and_are_said_and_not_read(
    database: Database, store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("a", 400), ("b", 700), ("c", 500)):
        store.put_bytes(f"inbox/acme/transcribe/{name}.wav", b"x" * size)
    store.put_bytes("inbox/rival/transcribe/a.wav", b"x" * 500)
    read: list[str] = []
    version = type(store).version

    def reading(self: Any, key: str) -> str:
        read.append(key.split("/", 1)[1])
        return version(self, key)

    monkeypatch.setattr(type(store), "version", reading)
    tight = bounded(settings, 1000)
    tally = take_page(database, store, after=None, settings=tight)
    assert (tally.submitted, tally.rejected, tally.waiting) == (3, 0, 1)
    assert "acme/transcribe/b.wav" not in read
    with database.session() as session:
        (waiting,) = recent_entries(session, outcome="waiting")
    assert waiting.object_key == "inbox/acme/transcribe/b.wav"
    assert "may keep, and this brings 700 bytes more" in str(waiting.reason)
    assert take_page(database, store, after=None, settings=tight).submitted == 0
    with database.session() as session:
        allow(session, "acme", 2000)
    assert take_page(database, store, after=None, settings=tight).submitted == 1


def test_completions_side_by_side_wait_for_nobody(database: Database, settings: Settings) -> None:
    """While changes are folded and counted anew, in whatever order transactions come, nothing deadlocks or is lost."""
    small = settings.model_copy(
        update={"batching": settings.batching.model_copy(update={"max_items": 10, "min_items": 1, "queue_factor": 50})}
    )
    order(database, small, "acme", audio(60))
    claims = claimed(database, small)
    while sum(len(claim.items) for claim in claims) < 60:
        claims += claimed(database, small)

    def housekeeping(number: int) -> None:
        with database.session() as session:
            (fold, recount)[number % 2](session)

    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(complete, database, claim) for claim in claims]
        others = [pool.submit(housekeeping, number) for number in range(20)]
        orders = [pool.submit(order, database, small, "acme", audio(2)) for _ in range(6)]
        for each in (*runs, *others, *orders):
            each.result()
    assert kept(database, small) == 60 * (1000 + 8) + 12_000 == counted_anew(database, small)


def test_a_completion_holds_no_row_that_another_wants(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(2))
    (claim,) = claimed(database, settings)
    with database.session() as first, database.session() as second:
        for session in (first, second):
            session.execute(text("SET LOCAL lock_timeout = '2s'"))
        insert = text(
            "INSERT INTO artifacts (key, workspace_id, stage, object_key, sha256, size_bytes, details) "
            "VALUES (:key, 'acme', 's', :key, '', 7, '{}')"
        )
        first.execute(insert, {"key": claim.items[0].id})
        second.execute(insert, {"key": claim.items[1].id})
        fold(second)
    assert kept(database, settings) == 2014


def test_an_installation_of_before_is_counted_when_it_upgrades(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    used, unused = announce(database, store, settings, 100), announce(database, store, settings, 30)
    order(database, settings, "acme", upload_of(used, 100))
    (claim,) = claimed(database, settings)
    complete(database, claim)
    store.put_bytes(f"artifacts/{claim.items[0].id}", b"words")
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0011")
    upgrade(database.engine)
    assert unused
    assert kept(database, settings) == 100 + 30 + 3  # what a result's size is stands nowhere
    assert measure_results(database, store, page=1) == 1
    assert kept(database, settings) == 100 + 30 + 3 + 5 == counted_anew(database, settings)
    assert measure_results(database, store) == 0


def test_commands_show_and_bound_and_recount(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(database, settings, "acme", audio(1, size_bytes=2 * 10**9))
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("AUDIOMILL_DATABASE__URL", settings.database.url or "")
    monkeypatch.setenv("AUDIOMILL_DATABASE__DAGSTER_URL", settings.database.dagster_url or "")
    get_settings.cache_clear()
    try:
        said = [
            CliRunner().invoke(app, ["workspaces", *arguments], catch_exceptions=False).output
            for arguments in (["allow", "acme", "--gigabytes", "5"], ["recount"], ["list"], ["allow", "acme"])
        ]
    finally:
        get_settings.cache_clear()
    assert "The workspace acme keeps 2.0 GB and may keep 5.0 GB." in said[0]
    assert "Results measured that had no size: 0." in said[1]
    assert "2.0 GB" in said[2]
    assert "5.0 GB" in said[2]
    assert "may keep 1,099.5 GB" in said[3]
