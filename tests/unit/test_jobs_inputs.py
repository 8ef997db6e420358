"""What a customer brings: uploads stand still while they are ordered, and what was ordered is what is worked on."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import pytest

from audiomill.database.connection import Database
from audiomill.jobs.inputs import create_upload, uploaded_object
from audiomill.jobs.overwriting import permit_writing
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from tests.fakes.orders import prepare, wipe


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


def test_no_other_bytes_come_between_looking_at_an_upload_and_ordering_it(
    database: Database, settings: Settings, store: ObjectStore
) -> None:
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
    store.put_bytes(ticket.object_key, b"first")

    def overwrite() -> None:
        with database.session() as session:
            permit_writing(session, ticket.object_key)

    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            uploaded_object(session, store, workspace_id="acme", upload_id=ticket.id)
            writing = pool.submit(overwrite)
            with pytest.raises(NotYet):
                writing.result(timeout=0.3)
        writing.result(timeout=10)
