"""Workspaces and API keys: bad names, foreign keys, revocation, nothing secret kept or printed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from audiomill.accounts.key_check import KeyCheck
from audiomill.accounts.keys import Principal, create_key, list_keys, revoke_key
from audiomill.accounts.workspaces import ensure_workspace, get_workspace
from audiomill.database.connection import Database
from audiomill.database.reading import Reader
from audiomill.database.tables import ApiKey
from audiomill.errors import BadRequest, NotFound, Unauthorized


def checked(database: Database, plaintext: str) -> Principal:
    """As the API checks a key with a request."""

    async def check() -> Principal:
        reader = Reader(database.url)
        try:
            return await KeyCheck(reader).principal(plaintext)
        finally:
            await reader.close()

    return asyncio.run(check())


@pytest.fixture
def workspace(database: Database) -> str:
    with database.session() as session:
        return ensure_workspace(session, "acme").id


@pytest.mark.parametrize("slug", ["", "-a", "A", "a_b", "ü", "a" * 64, "a b", "../b", "a\n", "a/b", "a.b"])
def test_a_bad_slug_is_refused(database: Database, slug: str) -> None:
    with database.session() as session, pytest.raises(BadRequest) as caught:
        ensure_workspace(session, slug)
    assert caught.value.code == "bad_workspace"


@pytest.mark.parametrize("slug", ["a", "0", "a" * 63, "acme-2"])
def test_a_good_slug_is_taken_and_an_existing_workspace_stays_as_it_is(database: Database, slug: str) -> None:
    with database.session() as session:
        ensure_workspace(session, slug, "First", tier=2)
    with database.session() as session:
        again = ensure_workspace(session, slug, "Second")
        assert (again.name, again.tier) == ("First", 2)


def test_many_callers_at_once_make_one_workspace(database: Database) -> None:
    def make(_: int) -> str:
        with database.session() as session:
            return ensure_workspace(session, "crowd").id

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(make, range(24))) == {"crowd"}


def test_a_key_opens_its_workspace_and_only_its_hash_is_kept(database: Database, workspace: str) -> None:
    with database.session() as session:
        created = create_key(session, workspace_id=workspace, name="laptop")
    assert created.plaintext.startswith("am_")
    assert len(created.plaintext) == 46
    assert created.plaintext not in repr(created)
    assert checked(database, created.plaintext) == Principal(workspace, created.id)
    with database.session() as session:
        stored = session.execute(text("SELECT row_to_json(k)::text FROM api_keys k WHERE id = :id"), {"id": created.id})
        assert created.plaintext[10:] not in str(stored.scalar_one())
        assert session.scalar(select(ApiKey.hint).where(ApiKey.id == created.id)) == created.plaintext[:8]


@pytest.mark.parametrize(
    "wrong",
    ["", "am_", "Bearer", "am_" + "A" * 43, "am_" + "A" * 42, "am_" + "é" * 43, "am_\x00" + "A" * 42, "x" * 9999],
)
def test_a_wrong_key_is_refused(database: Database, wrong: str) -> None:
    with pytest.raises(Unauthorized):
        checked(database, wrong)


def test_a_revoked_key_is_refused_and_revoking_again_changes_nothing(database: Database, workspace: str) -> None:
    with database.session() as session:
        created = create_key(session, workspace_id=workspace, name="old")
    with database.session() as session:
        first = revoke_key(session, workspace_id=workspace, key_id=created.id)
    with database.session() as session:
        again = revoke_key(session, workspace_id=workspace, key_id=created.id)
        assert first.revoked_at is not None
        assert again.revoked_at == first.revoked_at
        assert created.id in {key.id for key in list_keys(session, workspace) if key.revoked_at}
    with pytest.raises(Unauthorized):
        checked(database, created.plaintext)


def test_a_key_of_another_workspace_cannot_be_revoked(database: Database, workspace: str) -> None:
    with database.session() as session:
        ensure_workspace(session, "other")
        created = create_key(session, workspace_id=workspace, name="mine")
    with database.session() as session, pytest.raises(NotFound):
        revoke_key(session, workspace_id="other", key_id=created.id)
    assert checked(database, created.plaintext).workspace_id == workspace


def test_keys_need_a_workspace_and_a_name(database: Database, workspace: str) -> None:
    with database.session() as session, pytest.raises(NotFound):
        create_key(session, workspace_id="nobody", name="x")
    with database.session() as session, pytest.raises(NotFound):
        get_workspace(session, "nobody")
    for name in ("", "a\nb", "x" * 101):
        with database.session() as session, pytest.raises(BadRequest):
            create_key(session, workspace_id=workspace, name=name)
