"""What a customer brings: uploads stand still while they are ordered, and what was ordered is what is worked on."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import pytest

from audiomill.database.connection import Database
from audiomill.errors import Conflict
from audiomill.jobs.inputs import UploadView, create_upload, find_uploads, hold_uploads, received
from audiomill.jobs.overwriting import permit_writing
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from tests.fakes.orders import prepare, wipe


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


@pytest.fixture
def upload(database: Database, settings: Settings, store: ObjectStore) -> UploadView:
    """An upload whose five bytes were received, and noted."""
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
    receive(database, store, ticket.object_key, b"first")
    return found(database, ticket.id)


def receive(database: Database, store: ObjectStore, key: str, data: bytes) -> None:
    store.put_bytes(key, data)
    with database.session() as session:
        upload = permit_writing(session, key)
        upload.signature, upload.sha256 = store.stat(key).signature, hashlib.sha256(data).hexdigest()


def found(database: Database, upload_id: str) -> UploadView:
    with database.session() as session:
        (upload,) = find_uploads(session, workspace_id="acme", upload_ids=[upload_id])
    return upload


def test_what_was_hashed_as_it_came_is_not_read_for_its_order(
    upload: UploadView, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "version", None)
    assert received(store, upload).version == hashlib.sha256(b"first").hexdigest()


def test_bytes_that_came_and_were_not_noted_are_read(upload: UploadView, store: ObjectStore) -> None:
    store.put_bytes(upload.object_key, b"other")  # the process died here
    assert received(store, upload).version == hashlib.sha256(b"other").hexdigest()


def test_an_order_of_bytes_that_were_replaced_meanwhile_is_refused(
    database: Database, upload: UploadView, store: ObjectStore
) -> None:
    receive(database, store, upload.object_key, b"other")
    with database.session() as session, pytest.raises(Conflict) as caught:
        hold_uploads(session, [upload])
    assert caught.value.code == "upload_changed"


def test_no_other_bytes_come_between_looking_at_an_upload_and_ordering_it(
    database: Database, upload: UploadView
) -> None:
    def overwrite() -> None:
        with database.session() as session:
            permit_writing(session, upload.object_key)

    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            hold_uploads(session, [upload])
            writing = pool.submit(overwrite)
            with pytest.raises(NotYet):
                writing.result(timeout=0.3)
        writing.result(timeout=60)
