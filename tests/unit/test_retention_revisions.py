"""What revisions of a job keep from the sweeps: an old one that is served by number keeps all of its files; they go
with their job, and not while it is edited."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from audiomill.accounts.workspaces import keep_for
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact, Job, Output, Revision
from audiomill.jobs.batches import leases
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.working import ArtifactRecord, ItemResult, OutputRecord, PartRecord
from audiomill.jobs.revisions import cancel_revision, revise
from audiomill.jobs.submission import InputObject, NewJob
from audiomill.retention import schedule
from audiomill.retention.sweeping import Ground
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.keys import ARTIFACTS, OUTPUTS, artifact_key, output_key, upload_key
from tests.fakes.aged_store import AgedStore
from tests.fakes.orders import order, prepare, rested, wipe
from tests.fakes.plans import PLANTED, finish, fit, made, planted, runs

STEPS = (fit("voice", delivers=True), fit("lines", "voice/x"), fit("film", "lines/x", delivers=True))
OLD = 1000


@pytest.fixture(autouse=True)
def clean(database: Database, store: ObjectStore) -> Iterator[None]:
    wipe(database)
    prepare(database, "acme")
    for info in store.list_page("").objects:
        store.delete(info.key)
    with planted(*STEPS):
        yield


@pytest.fixture
def ground(database: Database, store: ObjectStore, settings: Settings) -> Ground:
    return Ground(database, AgedStore(store, days=OLD), settings)


def swept(ground: Ground) -> None:
    """All that is there is old; twice, as what a job leaves goes by another sweep."""
    with ground.database.session() as session:
        session.execute(text("UPDATE artifacts SET used_at = now() - make_interval(days => 1000)"))
    for _ in range(2):
        assert [each.error for each in schedule.sweep(ground, seconds=60) if each.error] == []


def stored(store: ObjectStore, name: str) -> ArtifactRecord:
    key = hashlib.sha256(name.encode()).hexdigest()
    object_key = artifact_key("acme", "fit", key, key, ".txt")
    store.put_bytes(object_key, name.encode())
    return ArtifactRecord(key, object_key, key, 5, {}, {"x": PartRecord(object_key, key, 5, "text/plain")})


def result(store: ObjectStore, item: ClaimedItem) -> ItemResult:
    """As a stage leaves it: with its objects in the store."""
    outputs: tuple[OutputRecord, ...] = ()
    if item.delivers:
        object_key = output_key("acme", item.job_id, item.revision, 1, f"{item.step}.txt")
        store.put_bytes(object_key, b"made")
        outputs = (OutputRecord(f"{item.step}.txt", object_key, "text/plain", 4, "1" * 64),)
    return replace(made(item), artifact=stored(store, item.id), outputs=outputs)


def work(ground: Ground, store: ObjectStore) -> None:
    rested(ground.database)
    while claims := runs(ground.database, ground.settings):
        for claim in claims:
            for item in claim.items:
                assert finish(ground.database, claim, item, result(store, item))
            with ground.database.session() as session:
                leases.close(session, claim)


def complete(ground: Ground, store: ObjectStore) -> str:
    key = upload_key("acme", hashlib.sha256(str(store.list_page("").objects).encode()).hexdigest())
    store.put_bytes(key, b"sound")
    given = InputObject(key, store.version(key), 5, "a.wav")
    (job_id,) = order(ground.database, ground.settings, "acme", [NewJob(PLANTED, {}, given)]).job_ids
    work(ground, store)
    return job_id


def edit(ground: Ground, store: ObjectStore, job_id: str, base: int = 1) -> None:
    with ground.database.session() as session:
        revise(
            session, workspace_id="acme", job_id=job_id, base=base, edited_lines=1, settings=ground.settings,
            replaced={"lines": stored(store, f"{job_id} {base}")},
        )  # fmt: skip


def aged(database: Database, *tables: str) -> None:
    with database.session() as session:
        for table in tables:
            session.execute(text(f"UPDATE {table} SET finished_at = now() - make_interval(days => {OLD})"))
            session.execute(text(f"UPDATE {table} SET created_at = now() - make_interval(days => {OLD})"))


def objects(store: ObjectStore) -> set[str]:
    return {info.key for prefix in (ARTIFACTS, OUTPUTS) for info in store.list_page(prefix).objects}


def named(database: Database) -> set[str]:
    with database.session() as session:
        return {*session.scalars(select(Artifact.object_key)), *session.scalars(select(Output.object_key))}


def test_an_old_revision_keeps_its_files_and_they_go_with_their_job(
    database: Database, store: ObjectStore, ground: Ground
) -> None:
    job_id = complete(ground, store)
    edit(ground, store, job_id)
    stored(store, "of an edit that was refused")
    swept(ground)
    assert len(objects(store)) == 3 + 1 + 2, "none of them is refused anything while it is open"
    work(ground, store)
    aged(database, "jobs")
    swept(ground)
    # voice, lines and film, lines as edited and the film of that; voice and two films as outputs.
    assert len(objects(store)) == 5 + 3
    assert objects(store) == named(database)
    with database.session() as session:
        keep_for(session, "acme", 90)
    swept(ground)
    assert objects(store) == named(database) != set(), "its newest revision is young"
    aged(database, "revisions")
    swept(ground)
    assert objects(store) == set()
    with database.session() as session:
        assert session.scalars(select(Revision)).all() == []


def test_an_old_job_that_is_edited_stays(database: Database, store: ObjectStore, ground: Ground) -> None:
    job_id = complete(ground, store)
    aged(database, "jobs")
    edit(ground, store, job_id)
    with database.session() as session:
        keep_for(session, "acme", 90)
    # Written before the row that names it.
    at_work = output_key("acme", job_id, 2, 1, "film.txt")
    store.put_bytes(at_work, b"made")
    swept(ground)
    assert objects(store) == named(database) | {at_work}
    work(ground, store)
    with database.session() as session:
        assert session.scalars(select(Job.revision)).all() == [2]


class Meanwhile(AgedStore):
    """A store in which something happens before the first object goes."""

    happens = staticmethod(lambda: None)

    def delete(self, key: str) -> None:
        happens, self.happens = self.happens, lambda: None  # type: ignore[method-assign,assignment]
        happens()
        self._store.delete(key)


def test_an_old_job_that_was_edited_since_it_was_listed_stays(
    database: Database, store: ObjectStore, ground: Ground
) -> None:
    jobs = [complete(ground, store), complete(ground, store)]
    aged(database, "jobs")
    with database.session() as session:
        keep_for(session, "acme", 90)

    def edited() -> None:
        edit(ground, store, max(jobs))
        with database.session() as session:
            cancel_revision(session, workspace_id="acme", job_id=max(jobs), revision=2)

    meanwhile = Meanwhile(store, days=OLD)
    meanwhile.happens = edited  # type: ignore[method-assign]
    swept(replace(ground, store=meanwhile))
    with database.session() as session:
        assert [(job.id, job.revision) for job in session.scalars(select(Job))] == [(max(jobs), 1)]
    assert objects(store) == named(database) != set()
