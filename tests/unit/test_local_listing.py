"""Walking a folder: each directory read once for all pages of a sweep, in bounded memory, past whatever is broken."""

import errno
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiomill.errors import StorageUnavailable
from audiomill.storage import local_listing
from audiomill.storage.local import LocalStore
from audiomill.storage.local_drafts import drafts_below


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store", secret="secret", public_url="http://api.test")
    (store.root / "inbox").mkdir()
    return store


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were read."""
    read: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(local_listing.os, "scandir", lambda path: (read.append(str(path)), scandir(path))[1])
    return read


def fill(store: LocalStore, *keys: str) -> list[str]:
    for key in keys:
        (store.root / key).parent.mkdir(parents=True, exist_ok=True)
        (store.root / key).touch()
    return sorted(keys, key=str.encode)


def sweep(store: LocalStore, limit: int, prefix: str = "inbox/") -> list[str]:
    keys: list[str] = []
    after = None
    while True:
        page = store.list_page(prefix, after=after, limit=limit)
        keys += [info.key for info in page.objects]
        after = page.next_after
        if after is None:
            return keys


def test_a_sweep_reads_each_folder_once_however_many_pages_it_has(store: LocalStore, opened: list[str]) -> None:
    keys = fill(store, *(f"inbox/{folder}/{number:03}" for folder in range(3) for number in range(100)))
    assert sweep(store, 7) == keys
    assert len(opened) == 4
    assert sweep(store, 7) == keys
    assert len(opened) == 8


def test_a_large_folder_is_held_in_parts(store: LocalStore, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_listing, "MOST_NAMES", 10)
    keys = fill(
        store,
        *(f"inbox/{number:03}" for number in range(95)),
        *(f"inbox/{number:03}-/{below}" for number in range(3) for below in range(25)),
        *(f"inbox/{number:03}x/y" for number in range(20)),
    )
    assert sweep(store, 7) == keys
    assert len(opened) < 45  # of 118 names and three folders of 25, ten at a time; read anew for each page: 100
    monkeypatch.undo()
    assert sweep(store, 1000) == keys


def test_what_came_while_a_sweep_was_on_is_found_by_the_next(store: LocalStore) -> None:
    fill(store, "inbox/a", "inbox/b", "inbox/c")
    page = store.list_page("inbox/", limit=2)
    fill(store, "inbox/d")
    (store.root / "inbox/c").unlink()
    assert store.list_page("inbox/", after=page.next_after, limit=2).objects == ()
    assert sweep(store, 2) == ["inbox/a", "inbox/b", "inbox/d"]


def test_what_was_written_between_two_pages_is_shown_as_it_is(store: LocalStore) -> None:
    fill(store, "inbox/a", "inbox/b")
    page = store.list_page("inbox/", limit=1)
    (store.root / "inbox/b").write_bytes(b"longer")
    assert [info.size_bytes for info in store.list_page("inbox/", after=page.next_after, limit=1).objects] == [6]


def test_walks_that_nobody_goes_on_with_are_let_go(store: LocalStore) -> None:
    keys = fill(store, *(f"inbox/{number}" for number in range(9)))
    pages = [store.list_page("inbox/", after=after, limit=1) for after in [None, *keys[:-2]]]
    for _ in range(3):
        for page in pages:
            store.list_page("inbox/", after=page.next_after, limit=3)
    assert len(store._walks._kept) <= store._walks.MOST
    assert sweep(store, 2) == keys


def test_a_loop_of_folders_is_left_out_and_told(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, "inbox/a/b/c", "inbox/d")
    above = os.lstat(store.root / "inbox")
    lstat = os.lstat

    def looped(path: str) -> Any:
        status = lstat(path)
        if str(path).endswith("/a/b"):
            return SimpleNamespace(st_dev=above.st_dev, st_ino=above.st_ino, st_mode=status.st_mode)
        return status

    monkeypatch.setattr(local_listing.os, "lstat", looped)
    page = store.list_page("inbox/")
    assert [info.key for info in page.objects] == ["inbox/d"]
    assert [(each.name, "loop" in each.reason) for each in page.left_out] == [("inbox/a/b/", True)]


def test_a_tree_deeper_than_any_key_is_left_out_and_told(store: LocalStore) -> None:
    fill(store, "inbox/z")
    folder = os.open(store.root / "inbox", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    try:
        page = store.list_page("inbox/")
        assert [info.key for info in page.objects] == ["inbox/z"]
        assert ["1,024 bytes" in each.reason for each in page.left_out] == [True]
    finally:
        # pytest, some runs later, could not: it goes as deep as the tree, and its exit code would tell of that.
        subprocess.run(["rm", "-rf", str(store.root / "inbox" / "d")], check=True)


@pytest.mark.parametrize("call", ["scandir", "lstat"])
@pytest.mark.parametrize("error", [13, 5, 40, 36, 116])  # EACCES, EIO, ELOOP, ENAMETOOLONG, ESTALE
def test_what_cannot_be_looked_at_is_left_out_and_told(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    fill(store, "inbox/a", "inbox/bad/b", "inbox/c")
    real = getattr(os, call)

    def failing(path: str) -> Any:
        if str(path).endswith("bad"):
            raise OSError(error, os.strerror(error))
        return real(path)

    monkeypatch.setattr(local_listing.os, call, failing)
    page = store.list_page("inbox/")
    assert [info.key for info in page.objects] == ["inbox/a", "inbox/c"]
    assert [each.name for each in page.left_out] == ["inbox/bad/"]


def test_a_process_that_is_out_of_descriptors_blames_no_folder(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "inbox/a", "inbox/bad/b")
    real = os.scandir

    def failing(path: str) -> Any:
        if str(path).endswith("bad"):
            raise OSError(24, os.strerror(24))
        return real(path)

    monkeypatch.setattr(local_listing.os, "scandir", failing)
    with pytest.raises(StorageUnavailable, match="Too many open files"):
        store.list_page("inbox/")


def test_a_folder_that_is_closed_to_us_does_not_end_the_sweep_of_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f".{'0' * 24}.tmp"
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"half")
    scandir = os.scandir

    def closed(path: str) -> object:
        if path.endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    page = drafts_below(str(tmp_path), after=None, limit=10)
    assert [draft.name for draft in page.drafts] == [f"a/{name}", f"c/{name}"]
