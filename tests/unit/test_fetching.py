"""Fetching an input: what is worked on is what was ordered."""

import errno
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from audiomill.errors import BadInput
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.inputs import store_text, text_input
from audiomill.milling.fetching import fetch_input
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.local import LocalStore


@pytest.fixture
def objects(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store", secret="secret", public_url="http://api.test")


def item(store: ObjectStore, key: str, *, sha256: str | None = None, kind: str = "audio") -> ClaimedItem:
    return ClaimedItem(
        id="item_1",
        job_id="job_1",
        workspace_id="acme",
        capability="transcribe",
        stage="transcribe",
        parameters={},
        recording_id="rec_1",
        object_key=key,
        object_version=store.version(key),
        kind=kind,
        filename="a.wav",
        size_bytes=3,
        attempts=1,
        input_sha256=sha256,
    )


def test_an_input_that_is_as_it_was_ordered(objects: LocalStore, tmp_path: Path) -> None:
    objects.put_bytes("inbox/a.wav", b"one")
    one = hashlib.sha256(b"one").hexdigest()
    assert fetch_input(objects, item(objects, "inbox/a.wav"), tmp_path / "in", Settings()) == one


@pytest.mark.parametrize("sha256", [None, hashlib.sha256(b"one").hexdigest()])
def test_an_input_that_was_replaced_after_it_was_ordered(
    objects: LocalStore, tmp_path: Path, sha256: str | None
) -> None:
    objects.put_bytes("inbox/a.wav", b"one")
    ordered = item(objects, "inbox/a.wav", sha256=sha256)
    objects.put_bytes("inbox/a.wav", b"two")
    with pytest.raises(BadInput, match="Order it again") as caught:
        fetch_input(objects, ordered, tmp_path / "in", Settings())
    assert caught.value.code == "input_changed"


def test_a_text_is_known_by_its_hash_whatever_the_store_calls_its_version(objects: LocalStore, tmp_path: Path) -> None:
    given = text_input(workspace_id="acme", text="Good morning.", settings=Settings())
    store_text(objects, given, "Good morning.")
    ordered = replace(item(objects, given.key, sha256=given.sha256, kind="text"), object_version="another-tag")
    assert fetch_input(objects, ordered, tmp_path / "in", Settings()) == given.sha256


def test_an_input_that_is_gone(objects: LocalStore, tmp_path: Path) -> None:
    objects.put_bytes("inbox/a.wav", b"one")
    ordered = item(objects, "inbox/a.wav")
    objects.delete("inbox/a.wav")
    with pytest.raises(BadInput) as caught:
        fetch_input(objects, ordered, tmp_path / "in", Settings())
    assert caught.value.code == "input_gone"


def test_an_input_that_the_store_does_not_give_out_is_told_by_its_own_name(
    objects: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put_bytes("inbox/acme/transcribe/a.wav", b"one")
    ordered = item(objects, "inbox/acme/transcribe/a.wav")

    def refused(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("audiomill.storage.local_files.open_file", refused)
    with pytest.raises(BadInput, match=r"The file 'a\.wav' cannot be read.*Input/output error") as caught:
        fetch_input(objects, ordered, tmp_path / "in", Settings())
    assert caught.value.code == "object_unreadable"
    assert "inbox/" not in caught.value.message
