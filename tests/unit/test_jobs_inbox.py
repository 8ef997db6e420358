"""The inbox: every object taken once, or refused with a reason; nothing passed over, nothing twice."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from audiomill.database.connection import Database
from audiomill.database.tables import EngineAvailability, Job, Recording
from audiomill.errors import BadRequest
from audiomill.jobs.inbox import InboxTally, take_page
from audiomill.jobs.inbox_entries import recent_entries
from audiomill.settings import Settings, StorageSettings
from audiomill.storage import ObjectStore, Page, local_files
from audiomill.storage.factory import open_store
from audiomill.storage.s3 import S3Store
from tests.fakes.orders import prepare, wipe


@pytest.fixture
def config(database: Database, settings: Settings, tmp_path: Path) -> Settings:
    wipe(database)
    prepare(database, "acme")
    return settings.model_copy(
        update={"data_dir": tmp_path, "inbox": settings.inbox.model_copy(update={"settle_seconds": 0, "page_size": 50})}
    )


@pytest.fixture
def inbox(config: Settings) -> ObjectStore:
    return open_store(config)


@pytest.fixture(params=["local", "s3"])
def either_inbox(config: Settings, request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """For what both kinds of inbox must do; reading files is the local one's alone, since S3 lists entity tags."""
    if request.param == "local":
        yield open_store(config)
        return
    server = request.getfixturevalue("s3_server")
    # A prefix of its own for each test: an empty bucket.
    chosen = StorageSettings(kind="s3", bucket="mill", prefix=uuid.uuid4().hex, endpoint_url=server, region="us-east-1")
    with closing(S3Store(chosen)) as store:
        yield store


def sweep(database: Database, store: ObjectStore, config: Settings) -> list[InboxTally]:
    tallies: list[InboxTally] = []
    after: str | None = None
    while True:
        tally = take_page(database, store, after=after, settings=config)
        tallies.append(tally)
        after = tally.next_after
        if after is None:
            return tallies


def jobs(database: Database) -> list[str]:
    with database.session() as session:
        return sorted(session.scalars(select(Recording.object_key).join(Job, Job.recording_id == Recording.id)))


def test_a_drop_is_taken_once_however_often_it_is_swept(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    for number in range(120):
        either_inbox.put_bytes(f"inbox/acme/transcribe/folder/{number:03}.wav", b"sound %d" % number)
    assert sum(tally.submitted for tally in sweep(database, either_inbox, config)) == 120
    assert sum(tally.submitted for tally in sweep(database, either_inbox, config)) == 0
    assert len(jobs(database)) == 120


def test_the_same_bytes_dropped_again_make_no_new_job(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    either_inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    sweep(database, either_inbox, config)
    either_inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    sweep(database, either_inbox, config)
    assert len(jobs(database)) == 1


def test_other_bytes_under_the_same_name_are_another_recording(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    either_inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    sweep(database, either_inbox, config)
    either_inbox.put_bytes("inbox/acme/transcribe/a.wav", b"other")
    sweep(database, either_inbox, config)
    assert len(jobs(database)) == 2


def test_a_key_that_sorts_before_what_was_taken_is_not_missed(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    either_inbox.put_bytes("inbox/acme/transcribe/z.wav", b"z")
    sweep(database, either_inbox, config)
    either_inbox.put_bytes("inbox/acme/transcribe/a.wav", b"a")
    sweep(database, either_inbox, config)
    assert len(jobs(database)) == 2


def test_odd_names_are_taken(database: Database, config: Settings, inbox: ObjectStore) -> None:
    odd = ["new\nline.wav", "🎙️ émission.wav", "spaces and 'quotes'.wav", "/".join(["x" * 90] * 10) + "/long.wav"]
    for name in odd:
        inbox.put_bytes(f"inbox/acme/transcribe/{name}", name.encode())
    sweep(database, inbox, config)
    assert jobs(database) == sorted(f"inbox/acme/transcribe/{name}" for name in odd)
    with database.session() as session:
        names = session.scalars(select(Job.filename)).all()
    assert not any("\n" in name for name in names)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("inbox/nobody/transcribe/a.wav", "no workspace 'nobody'"),
        ("inbox/acme/nonsense/a.wav", "no recipe 'nonsense'"),
        ("inbox/acme/a.wav", "inbox/<workspace>/<recipe>/"),
    ],
)
def test_what_cannot_be_placed_is_refused_once_with_a_reason(
    database: Database, config: Settings, either_inbox: ObjectStore, key: str, reason: str
) -> None:
    either_inbox.put_bytes(key, b"sound")
    either_inbox.put_bytes("inbox/acme/transcribe/good.wav", b"sound")
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, either_inbox, config)] == [(1, 1)]
    assert [tally.rejected for tally in sweep(database, either_inbox, config)] == [0]
    with database.session() as session:
        (entry,) = recent_entries(session, outcome="rejected")
    assert entry.object_key == key
    assert reason in (entry.reason or "")


def test_a_workspace_made_later_gets_what_waited_for_it(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    either_inbox.put_bytes("inbox/later/transcribe/a.wav", b"sound")
    sweep(database, either_inbox, config)
    prepare(database, "later")
    sweep(database, either_inbox, config)
    assert len(jobs(database)) == 1


def test_without_an_engine_objects_wait(database: Database, config: Settings, inbox: ObjectStore) -> None:
    with database.session() as session:
        session.query(EngineAvailability).delete()
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    assert [tally.waiting for tally in sweep(database, inbox, config)] == [1]
    prepare(database, "acme")
    assert [tally.submitted for tally in sweep(database, inbox, config)] == [1]


def test_one_object_that_is_too_large_does_not_hold_up_the_rest(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    small = config.model_copy(update={"limits": config.limits.model_copy(update={"max_bytes": 10})})
    either_inbox.put_bytes("inbox/acme/transcribe/a.wav", b"x" * 11)
    either_inbox.put_bytes("inbox/acme/transcribe/b.wav", b"x")
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, either_inbox, small)] == [(1, 1)]
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, either_inbox, small)] == [(0, 0)]


def test_an_object_that_still_grows_waits(database: Database, config: Settings, inbox: ObjectStore) -> None:
    patient = config.model_copy(update={"inbox": config.inbox.model_copy(update={"settle_seconds": 3600})})
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    assert [tally.waiting for tally in sweep(database, inbox, patient)] == [1]
    assert jobs(database) == []


def test_an_object_that_vanishes_between_listing_and_reading_is_no_error(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    page = inbox.list_page("inbox/")
    inbox.delete("inbox/acme/transcribe/a.wav")
    monkeypatch.setattr(inbox, "list_page", lambda *_args, **_kwargs: page)
    assert [tally.submitted for tally in sweep(database, inbox, config)] == [0]


def test_several_takers_at_once_take_each_object_once(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    for number in range(60):
        either_inbox.put_bytes(f"inbox/acme/transcribe/{number:03}.wav", b"sound %d" % number)

    def take(_: int) -> int:
        return take_page(database, either_inbox, after=None, settings=config).submitted

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(6))) == 50
    sweep(database, either_inbox, config)
    assert len(jobs(database)) == len(set(jobs(database))) == 60


def test_a_page_ends_early_when_it_has_read_enough_and_goes_on_there(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiomill.jobs.inbox.MOST_READ_BYTES", 25)
    for name in ("a", "b", "c", "d"):
        inbox.put_bytes(f"inbox/acme/transcribe/{name}.wav", name.encode() * 10)
    inbox.put_bytes("inbox/acme/transcribe/c.wav", b"c" * 40)  # larger than the bound: read alone
    assert [tally.submitted for tally in sweep(database, inbox, config)] == [2, 1, 1]
    assert [tally.looked_at for tally in sweep(database, inbox, config)] == [4]


def test_what_is_too_large_is_refused_without_being_read(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = config.model_copy(update={"limits": config.limits.model_copy(update={"max_bytes": 10})})
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"x" * 11)

    def read(key: str) -> str:
        raise AssertionError(f"{key} was read")

    monkeypatch.setattr(inbox, "version", read)
    assert [tally.rejected for tally in sweep(database, inbox, small)] == [1]
    with database.session() as session:
        (entry,) = recent_entries(session, outcome="rejected")
    assert "11 bytes" in (entry.reason or "")


def test_no_transaction_is_open_while_files_are_read(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    checked_out: list[int] = []

    def read(key: str) -> str:
        checked_out.append(database.engine.pool.checkedout())  # type: ignore[attr-defined]  # of a QueuePool
        return "version"

    monkeypatch.setattr(inbox, "version", read)
    sweep(database, inbox, config)
    assert checked_out == [0]


def test_a_version_that_listing_tells_is_not_asked_for_again(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    page = inbox.list_page("inbox/")
    told = Page(tuple(replace(info, version="tag") for info in page.objects), None)
    monkeypatch.setattr(inbox, "list_page", lambda *_args, **_kwargs: told)
    monkeypatch.setattr(inbox, "version", None)
    sweep(database, inbox, config)
    with database.session() as session:
        assert session.scalars(select(Recording.object_version)).all() == ["tag"]


def test_a_file_that_may_not_be_read_does_not_hold_up_the_rest(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    inbox.put_bytes("inbox/acme/transcribe/b.wav", b"sound")
    opened = local_files.open_file

    def refusing(root: str, names: list[str]) -> int:
        if names[-1] == "a.wav":
            raise PermissionError(13, "Permission denied")
        return opened(root, names)

    monkeypatch.setattr(local_files, "open_file", refusing)
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(1, 1)]
    monkeypatch.undo()
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(1, 0)]


def test_what_was_refused_and_is_dropped_again_with_the_same_bytes_is_read_once(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BadRequest("No.")

    monkeypatch.setattr("audiomill.jobs.inbox.submit", refuse)
    for _ in range(2):
        inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
        assert [tally.rejected for tally in sweep(database, inbox, config)] == [1]
    monkeypatch.setattr(inbox, "version", None)
    assert [tally.rejected for tally in sweep(database, inbox, config)] == [0]
