"""The inbox: every object taken once, or refused with a reason; nothing passed over, nothing twice."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from sqlalchemy import select, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.database.migrate import alembic_config, upgrade
from audiomill.database.tables import EngineAvailability, Job, Recording
from audiomill.errors import BadRequest, StorageUnavailable
from audiomill.inbox import entries as inbox_entries
from audiomill.inbox import orders as inbox_orders
from audiomill.inbox.entries import Note, recent_entries
from audiomill.inbox.sweep import InboxTally, take_keys, take_page
from audiomill.jobs.submission import NewJob, Submitted
from audiomill.jobs.transitions import transition
from audiomill.settings import Settings, StorageSettings
from audiomill.storage import ObjectStore, Page, local_files
from audiomill.storage.factory import open_store
from audiomill.storage.local import LocalStore
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
def inbox(config: Settings) -> LocalStore:
    store = open_store(config)
    assert isinstance(store, LocalStore)
    return store


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


def write(store: ObjectStore, key: str, data: bytes, *, at: int) -> None:
    """Write an object at a time of its own: stores tell times by the second, or the tick of a clock."""
    store.put_bytes(key, data)
    if isinstance(store, LocalStore):
        os.utime(store.root / key, (at, at))
    else:
        assert isinstance(store, S3Store)
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object(
            "mill", store._prefix + key
        ).last_modified = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def test_the_same_bytes_written_again_are_ordered_again(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    for at in (1000, 2000, 3000):
        write(either_inbox, "inbox/acme/transcribe/a.wav", b"sound", at=at)
        assert sum(tally.submitted for tally in sweep(database, either_inbox, config)) == 1
        assert sum(tally.submitted for tally in sweep(database, either_inbox, config)) == 0
    assert len(jobs(database)) == 3


def test_what_was_replaced_and_put_back_is_ordered_again(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    for data, at in ((b"sound", 1000), (b"other", 2000), (b"sound", 1000)):
        write(either_inbox, "inbox/acme/transcribe/a.wav", data, at=at)
        assert sum(tally.submitted for tally in sweep(database, either_inbox, config)) == 1
    assert len(jobs(database)) == 3


def test_a_file_that_is_touched_is_ordered_again_and_one_that_is_only_moved_or_restored_is_passed_over_and_said(
    database: Database, config: Settings, inbox: LocalStore
) -> None:
    key = "inbox/acme/transcribe/a.wav"
    write(inbox, key, b"sound", at=1000)
    sweep(database, inbox, config)
    path = inbox.path_for(key)
    path.chmod(0o640)
    assert sum(tally.submitted for tally in sweep(database, inbox, config)) == 0
    restored = path.with_name("restored.tmp")
    shutil.copy2(path, restored)
    restored.replace(path)
    assert sum(tally.submitted for tally in sweep(database, inbox, config)) == 0
    with database.session() as session:
        (entry,) = recent_entries(session)
    assert "touch" in (entry.reason or "")
    os.utime(path, (2000, 2000))
    assert sum(tally.submitted for tally in sweep(database, inbox, config)) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_copy_with_its_old_time_is_ordered_again_when_the_first_order_came_to_nothing(
    database: Database, config: Settings, inbox: LocalStore, state: str
) -> None:
    key = "inbox/acme/transcribe/a.wav"
    write(inbox, key, b"sound", at=1000)
    sweep(database, inbox, config)
    with database.session() as session:
        ids = session.scalars(select(Job.id)).all()
        if state == "failed":
            transition(session, ids, "running")
        transition(session, ids, state, code="broken", reason="It broke. Order it again later.")
    path = inbox.path_for(key)
    shutil.copy2(path, path.with_name("again.tmp"))
    path.with_name("again.tmp").replace(path)
    assert sum(tally.submitted for tally in sweep(database, inbox, config)) == 1


def test_entries_of_the_spine_order_nothing_again(
    database: Database, config: Settings, either_inbox: ObjectStore
) -> None:
    write(either_inbox, "inbox/acme/transcribe/a.wav", b"sound", at=1000)
    sweep(database, either_inbox, config)
    if isinstance(either_inbox, S3Store):
        with database.session() as session:
            session.execute(text("UPDATE inbox_entries SET signature = version, written = NULL"))
    else:
        assert isinstance(either_inbox, LocalStore)
        info = either_inbox.path_for("inbox/acme/transcribe/a.wav").stat()
        with database.engine.begin() as connection:
            command.downgrade(alembic_config(connection), "0001")
        spine = f"{info.st_size}-{info.st_mtime_ns}-{info.st_ctime_ns}-{info.st_ino}"
        with database.session() as session:
            session.execute(text("UPDATE inbox_entries SET signature = :spine"), {"spine": spine})
        upgrade(database.engine)
        prepare(database, "acme")
    for _ in range(2):
        assert [tally.submitted for tally in sweep(database, either_inbox, config)] == [0]
    write(either_inbox, "inbox/acme/transcribe/a.wav", b"sound", at=2000)
    assert [tally.submitted for tally in sweep(database, either_inbox, config)] == [1]


@pytest.mark.parametrize(
    ("first", "then"), [("a.wav", "a.wav"), ("z.wav", "a.wav")], ids=["other bytes", "sorts before"]
)
def test_what_comes_later_is_another_recording_wherever_its_name_sorts(
    database: Database, config: Settings, either_inbox: ObjectStore, first: str, then: str
) -> None:
    either_inbox.put_bytes(f"inbox/acme/transcribe/{first}", b"sound")
    sweep(database, either_inbox, config)
    either_inbox.put_bytes(f"inbox/acme/transcribe/{then}", b"other")
    sweep(database, either_inbox, config)
    assert len(jobs(database)) == 2


def test_odd_names_are_taken(database: Database, config: Settings, inbox: LocalStore) -> None:
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


def test_without_an_engine_objects_wait(database: Database, config: Settings, inbox: LocalStore) -> None:
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


def test_an_object_that_still_grows_waits(database: Database, config: Settings, inbox: LocalStore) -> None:
    patient = config.model_copy(update={"inbox": config.inbox.model_copy(update={"settle_seconds": 3600})})
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    assert [tally.waiting for tally in sweep(database, inbox, patient)] == [1]
    assert jobs(database) == []


def test_an_object_that_vanishes_between_listing_and_reading_is_no_error(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
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
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiomill.inbox.desk.MOST_READ_BYTES", 25)
    for name in ("a", "b", "c", "d"):
        inbox.put_bytes(f"inbox/acme/transcribe/{name}.wav", name.encode() * 10)
    inbox.put_bytes("inbox/acme/transcribe/c.wav", b"c" * 40)  # larger than the bound: read alone
    assert [tally.submitted for tally in sweep(database, inbox, config)] == [2, 1, 1]
    assert [tally.looked_at for tally in sweep(database, inbox, config)] == [4]


def test_what_is_too_large_is_refused_without_being_read(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
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
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
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
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    page = inbox.list_page("inbox/")
    told = Page(tuple(replace(info, version="tag") for info in page.objects), None)
    monkeypatch.setattr(inbox, "list_page", lambda *_args, **_kwargs: told)
    monkeypatch.setattr(inbox, "version", None)
    sweep(database, inbox, config)
    with database.session() as session:
        assert session.scalars(select(Recording.object_version)).all() == ["tag"]


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENXIO, errno.EINVAL])
def test_a_file_that_cannot_be_read_does_not_hold_up_the_rest(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    inbox.put_bytes("inbox/acme/transcribe/b.wav", b"sound")
    opened = local_files.open_file

    def refusing(root: str, names: list[str]) -> int:
        if names[-1] == "a.wav":
            raise OSError(error, os.strerror(error))
        return opened(root, names)

    monkeypatch.setattr(local_files, "open_file", refusing)
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(1, 1)]
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(0, 0)]
    monkeypatch.undo()
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(1, 0)]


class Surprise(Exception):
    """Something that nobody thought of."""


def test_whatever_one_object_raises_is_said_and_the_others_go_on(
    database: Database,
    config: Settings,
    inbox: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(database, "other")
    for key in ("acme/transcribe/bad private.wav", "acme/transcribe/good.wav", "other/transcribe/a.wav"):
        inbox.put_bytes(f"inbox/{key}", b"sound")
    read = inbox.version

    def reading(key: str) -> str:
        if "bad" in key:
            raise Surprise(key)
        return read(key)

    monkeypatch.setattr(inbox, "version", reading)
    for expected in (2, 0):
        (tally,) = sweep(database, inbox, config)
        assert (tally.submitted, tally.waiting) == (expected, 1)
    with database.session() as session:
        (entry,) = recent_entries(session, outcome="failed")
        assert "no fault of the file" in (entry.reason or "")
        session.execute(text("UPDATE inbox_entries SET seen_at = seen_at - interval '2 minutes'"))
    sweep(database, inbox, config)
    shown = capsys.readouterr().out
    assert shown.count("Surprise") == 1
    assert "private" not in shown
    monkeypatch.undo()
    assert sweep(database, inbox, config)[0].submitted == 0
    with database.session() as session:
        session.execute(text("UPDATE inbox_entries SET seen_at = seen_at - interval '2 minutes'"))
    assert sweep(database, inbox, config)[0].submitted == 1


@pytest.mark.parametrize("kind", [Surprise, DataError])
def test_whatever_ordering_one_object_raises_the_others_are_ordered(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    for name in ("a", "bad", "c"):
        inbox.put_bytes(f"inbox/acme/transcribe/{name}.wav", name.encode())
    ordered = inbox_orders.submit

    def submitting(session: Session, *, jobs: list[NewJob], **others: Any) -> Submitted:
        if any("bad" in new.input.key for new in jobs):
            if kind is DataError:
                session.execute(text("SELECT 1 / 0"))
            raise Surprise
        return ordered(session, jobs=jobs, **others)

    monkeypatch.setattr(inbox_orders, "submit", submitting)
    (tally,) = sweep(database, inbox, config)
    assert (tally.submitted, tally.rejected, tally.waiting) == (2, 0, 1)


def test_an_entry_that_cannot_be_written_does_not_hold_up_the_rest(
    database: Database,
    config: Settings,
    inbox: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a", "bad", "c"):
        inbox.put_bytes(f"inbox/acme/nonsense/{name} private.wav", b"sound")
    inbox.put_bytes("inbox/acme/transcribe/good.wav", b"sound")
    writing = inbox_entries._write

    def refusing(session: Session, notes: Sequence[Note]) -> None:
        if any("bad" in note.info.key for note in notes):
            session.execute(text("SELECT 1 / 0"))
        writing(session, notes)

    monkeypatch.setattr(inbox_entries, "_write", refusing)
    assert sum(tally.submitted for tally in sweep(database, inbox, config)) == 1
    with database.session() as session:
        noted = [(entry.object_key.rpartition("/")[2], entry.outcome) for entry in recent_entries(session)]
    assert sorted(noted) == [("a private.wav", "rejected"), ("c private.wav", "rejected"), ("good.wav", "submitted")]
    shown = capsys.readouterr().out
    assert shown.count("cannot be written") == 1
    assert "private" not in shown


def test_a_store_that_is_away_ends_the_page_and_nothing_is_said_of_its_objects(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")

    def away(*_: object) -> str:
        raise StorageUnavailable("The object store does not answer.")

    monkeypatch.setattr(inbox, "version", away)
    monkeypatch.setattr(inbox, "ready", away)
    with pytest.raises(StorageUnavailable):
        sweep(database, inbox, config)
    with database.session() as session:
        assert recent_entries(session) == []


def test_a_key_of_s3_that_the_database_cannot_hold_is_said_and_left_out(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    inbox.put_bytes("inbox/acme/transcribe/b.wav", b"sound")
    page = inbox.list_page("inbox/")
    odd = (replace(page.objects[0], key="inbox/acme/transcribe/a\0.wav"), *page.objects[1:])
    monkeypatch.setattr(inbox, "list_page", lambda *_args, **_kwargs: Page(odd, None))
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(1, 1)]
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(0, 0)]
    with database.session() as session:
        (entry,) = recent_entries(session, outcome="rejected")
    assert entry.object_key == "inbox/acme/transcribe/a\\x00.wav"
    assert "zero character" in (entry.reason or "")


def test_a_name_that_is_no_text_and_a_folder_that_may_not_be_read_are_said_and_left_out(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    inbox.put_bytes("inbox/acme/transcribe/locked/b.wav", b"sound")
    inbox.put_bytes("inbox/acme/transcribe/z.wav", b"sound")
    folder = inbox.path_for("inbox/acme/transcribe/a.wav").parent
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.wav")).touch()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("audiomill.storage.local_listing.os.scandir", refusing)
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(2, 2)]
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(0, 0)]
    with database.session() as session:
        said = {entry.object_key: entry.reason or "" for entry in recent_entries(session, outcome="rejected")}
    assert "not UTF-8" in said["inbox/acme/transcribe/\\xff.wav"]
    assert "Permission denied" in said["inbox/acme/transcribe/locked/"]
    # A file that has what was shown as its own name keeps its own entry.
    inbox.put_bytes("inbox/acme/transcribe/\\xff.wav", b"sound")
    assert [tally.submitted for tally in sweep(database, inbox, config)] == [1]
    assert [(tally.submitted, tally.rejected) for tally in sweep(database, inbox, config)] == [(0, 0)]


def test_without_an_engine_nothing_is_read(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session() as session:
        session.query(EngineAvailability).delete()
    inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
    read = inbox.version
    monkeypatch.setattr(inbox, "version", None)
    for _ in range(2):
        assert [tally.waiting for tally in sweep(database, inbox, config)] == [1]
    with database.session() as session:
        (entry,) = recent_entries(session, outcome="waiting")
    assert entry.reason
    prepare(database, "acme")
    monkeypatch.setattr(inbox, "version", read)
    assert [tally.submitted for tally in sweep(database, inbox, config)] == [1]


def test_what_is_written_while_it_is_read_waits(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(inbox, "inbox/acme/transcribe/a.wav", b"sound", at=1000)
    read = inbox.version

    def overwritten(key: str) -> str:
        version = read(key)
        write(inbox, key, b"other", at=2000)
        return version

    monkeypatch.setattr(inbox, "version", overwritten)
    (tally,) = sweep(database, inbox, config)
    assert (tally.submitted, tally.waiting, tally.again) == (0, 1, ("inbox/acme/transcribe/a.wav",))
    monkeypatch.undo()
    assert sweep(database, inbox, config)[0].submitted == 1
    assert len(jobs(database)) == 1


def test_keys_that_something_happened_to_are_taken_without_listing(
    database: Database, config: Settings, either_inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"inbox/acme/transcribe/{name}.wav" for name in ("a", "b")]
    for key in keys:
        either_inbox.put_bytes(key, b"sound")
    monkeypatch.setattr(either_inbox, "list_page", None)
    named = [*keys, *keys, "inbox/acme/transcribe/gone.wav", "inbox/acme", "inbox/acme/transcribe/odd\0.wav"]
    for expected in (2, 0):
        assert take_keys(database, either_inbox, keys=named, settings=config).submitted == expected
    patient = config.model_copy(update={"inbox": config.inbox.model_copy(update={"settle_seconds": 3600})})
    either_inbox.put_bytes("inbox/acme/transcribe/c.wav", b"sound")
    if isinstance(either_inbox, LocalStore):
        tally = take_keys(database, either_inbox, keys=["inbox/acme/transcribe/c.wav"], settings=patient)
        assert (tally.submitted, tally.again) == (0, ("inbox/acme/transcribe/c.wav",))


def test_what_was_refused_and_is_dropped_again_with_the_same_bytes_is_read_once(
    database: Database, config: Settings, inbox: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BadRequest("No.")

    monkeypatch.setattr("audiomill.inbox.orders.submit", refuse)
    for _ in range(2):
        inbox.put_bytes("inbox/acme/transcribe/a.wav", b"sound")
        assert [tally.rejected for tally in sweep(database, inbox, config)] == [1]
    monkeypatch.setattr(inbox, "version", None)
    assert [tally.rejected for tally in sweep(database, inbox, config)] == [0]
