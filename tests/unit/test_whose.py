"""Whose a fault of ours is: what is asked of the store and the machine, and what follows."""

import errno
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest

from audiomill.errors import DatabaseUnavailable, LeaseLost, OperatorError, StorageUnavailable
from audiomill.milling.whose import is_well, whose
from audiomill.storage import ObjectStore

WELL = cast("ObjectStore", SimpleNamespace(ready=lambda: None))


def away() -> None:
    raise StorageUnavailable("Away.")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


OURS = [OSError(errno.ENAMETOOLONG, "no"), MemoryError(), StorageUnavailable("no"), OperatorError("no")]


@pytest.mark.parametrize("code", ["database_refused", "decoder_broke", "decoder_ended"])
def test_what_is_known_to_be_about_one_is(tmp_path: Path, code: str) -> None:
    assert whose(OperatorError("no", code=code), WELL, tmp_path) == "item"


def test_one_object_that_a_store_in_use_does_not_give_is_one_items(tmp_path: Path) -> None:
    assert whose(StorageUnavailable("That one."), WELL, tmp_path) == "item"


@pytest.mark.parametrize("code", ["scratch_unavailable", "store_full"])
def test_what_a_disk_refuses_is_not_known_to_be_one_items(tmp_path: Path, code: str) -> None:
    assert whose(StorageUnavailable("No space left on device.", code=code), WELL, tmp_path) == "unclear"


@pytest.mark.parametrize("error", [OURS[0], OURS[1], OURS[3], OSError(errno.ENOSPC, "no")], ids=repr)
def test_what_else_goes_wrong_at_one_item_is_unclear(tmp_path: Path, error: Exception) -> None:
    assert whose(error, WELL, tmp_path) == "unclear"


@pytest.mark.parametrize("error", [LeaseLost("no"), DatabaseUnavailable("no")], ids=repr)
def test_a_lost_lease_and_an_absent_database_are_no_items(tmp_path: Path, error: Exception) -> None:
    assert whose(error, WELL, tmp_path) == "machine"


@pytest.mark.parametrize("ill", ["store", "disk", "folder", "memory"])
@pytest.mark.parametrize("error", OURS, ids=repr)
def test_on_a_machine_that_is_not_well_nothing_is_one_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ill: str, error: Exception
) -> None:
    store, folder = WELL, tmp_path
    if ill == "store":
        store = cast("ObjectStore", SimpleNamespace(ready=away))
    elif ill == "disk":
        monkeypatch.setattr("audiomill.scratch.os.posix_fallocate", full)
    elif ill == "folder":
        folder = tmp_path / "gone"
    else:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 20))
    assert not is_well(store, folder)
    assert whose(error, store, folder) == "machine"


def test_a_store_that_hangs_is_not_well_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiomill.milling.whose.ANSWER_SECONDS", 0.05)
    asked, over = threading.Event(), threading.Event()

    def hangs() -> None:
        asked.set()
        # Longer than anybody waits here; the test ends it.
        over.wait(30)

    try:
        assert whose(StorageUnavailable("That one."), cast("ObjectStore", SimpleNamespace(ready=hangs)), tmp_path) == (
            "machine"
        )
        assert asked.is_set()
        assert not over.is_set()
    finally:
        over.set()


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    assert is_well(WELL, tmp_path)
    assert list(tmp_path.iterdir()) == []
