"""The stream of a batch, with a scripted stage and no Dagster: each item ends by itself, whatever its neighbours do."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.engines.protocol import EngineIdentity, Progress, Usage
from audiomill.errors import (
    AudiomillError,
    BadInput,
    CustomerError,
    EngineFailed,
    EngineProcessDied,
    EngineProcessKilled,
    EngineUnavailable,
    LeaseLost,
    QualityRejected,
    StorageUnavailable,
)
from audiomill.jobs.batches.leases import Claim, ClaimedItem
from audiomill.jobs.batches.working import ItemResult
from audiomill.milling.stage import Finished, Opened, StageWork, Unit
from audiomill.milling.stream import work_off
from audiomill.milling.writer import BatchWriter

Do = Callable[..., Any]


def item(name: str) -> ClaimedItem:
    return ClaimedItem(
        id=name,
        job_id=f"job_{name}",
        workspace_id="acme",
        capability="transcribe",
        stage="transcribe",
        parameters={},
        recording_id="rec",
        object_key=name,
        object_version="1",
        kind="audio",
        filename=name,
        size_bytes=1,
        attempts=0,
    )


def claim(*names: str) -> Claim:
    return Claim("batch", "transcribe", "scripted", None, "cpu", 1, "run", tuple(item(name) for name in names))


class Engine:
    """Counts its closings."""

    identity = EngineIdentity("scripted", "1", None, None)

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Book:
    """What a BatchWriter would have written."""

    def __init__(self, unwanted: Sequence[str] = ()) -> None:
        self.begun: list[str] = []
        self.complete_ids: list[str] = []
        self.failed: dict[str, CustomerError] = {}
        self.shares: list[tuple[str, float]] = []
        self.lost = False
        self.given_back: list[str] = []
        self.suspects: list[str] = []
        self.handed_back: list[str] = []
        self.crashes: list[str] = []
        self.insides: list[list[str]] = []
        self.limits: list[float] = []
        self.unwanted: frozenset[str] = frozenset()
        self._unwanted = unwanted

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("another's")

    def begin(self, item_ids: Sequence[str]) -> dict[str, int]:
        self.begun += item_ids
        return {each: 1 for each in item_ids if each not in self._unwanted}

    def complete(self, item_id: str, job_id: str, result: ItemResult) -> None:
        assert item_id not in self.complete_ids
        self.complete_ids.append(item_id)

    def fail(self, item_id: str, job_id: str, error: CustomerError) -> None:
        assert item_id not in self.failed
        self.failed[item_id] = error

    def progress(self, item_id: str, share: float) -> None:
        self.shares.append((item_id, share))

    def hand_back(self, item_id: str, job_id: str, error: Exception) -> None:
        self.handed_back.append(item_id)

    def crashed(self, item_id: str, job_id: str, error: Exception) -> None:
        self.crashes.append(item_id)

    def give_back(self, note: str, *, suspects: Sequence[str] = ()) -> None:
        self.given_back.append(note)
        self.suspects = list(suspects)

    def inside(self, item_ids: Sequence[str]) -> None:
        if not self.insides or self.insides[-1] != list(item_ids):
            self.insides.append(list(item_ids))

    def advanced(self, longest_seconds: float) -> None:
        self.limits.append(longest_seconds)

    @property
    def codes(self) -> dict[str, str]:
        return {name: error.code for name, error in self.failed.items()}


class Stage(StageWork[str, str, str, str]):
    """Does what the test says. `groups` are the calls of the engine, by the names of their items."""

    def __init__(self, *, prepare: Do | None = None, run: Do | None = None, finish: Do | None = None) -> None:
        self._prepare, self._run, self._finish = prepare, run, finish
        self.groups: list[list[str]] = []
        self.seconds: dict[str, float] = {}
        self.group: dict[str, str] = {}
        self.known: dict[str, str] = {}
        self.folders: set[Path] = set()

    def open(self, item: ClaimedItem, attempt: int, folder: Path) -> Opened[str]:
        self.folders.add(folder)
        (folder / "input").write_bytes(b"x")
        if self._prepare is not None:
            self._prepare(item.id)
        return Opened(
            item=item,
            attempt=attempt,
            folder=folder,
            material=item.id,
            seconds=self.seconds.get(item.id, 1.0),
            input_sha256="0",
            artifact_key="key",
            group=self.group.get(item.id, ""),
            known=item.id in self.known,
        )

    def run(self, engine: Any, units: Sequence[Unit[str]], progress: Progress) -> list[str | AudiomillError]:
        names = [unit.payload for unit in units]
        self.groups.append(names)
        return list(names) if self._run is None else self._run(names, progress)

    def finish(self, engine: Any, opened: Opened[str], kept: Sequence[str], seconds: float) -> Finished:
        if self._finish is not None:
            self._finish(opened.item.id)
        assert opened.folder.is_dir()
        return Finished(cast("ItemResult", SimpleNamespace()), Audio(np.zeros((1, 800), np.float32), 16_000))


def go(
    stage: Stage, book: Book, *names: str, usage: Usage | None = None, engine: Engine | None = None, scratch: Path
) -> list[Any]:
    used = engine or Engine(usage or Usage(group_items=4, group_seconds=3600, parallel_calls=1))
    return work_off(claim(*names), cast("Any", stage), cast("Any", used), cast("BatchWriter", book), scratch)


def test_each_item_ends_by_itself_and_leaves_no_file(tmp_path: Path) -> None:
    book, stage = Book(), Stage()
    names = [f"i{number}" for number in range(40)]
    pictures = go(stage, book, *names, scratch=tmp_path)
    assert sorted(book.complete_ids) == sorted(names)
    assert book.failed == {}
    assert len(pictures) == 16
    assert all(not isinstance(sound, Audio) for _, sound in pictures)
    assert list(tmp_path.iterdir()) == []


def test_an_item_has_ended_and_its_files_are_gone_while_others_are_worked_on(tmp_path: Path) -> None:
    book = Book()

    seen: list[bool] = []

    def ended_a() -> bool:
        return "a" in book.complete_ids and not any(each.exists() for each in stage.folders if each.name == "a")

    def run(names: list[str], _progress: Progress) -> list[str]:
        if names == ["b"]:
            end = time.monotonic() + 60
            while time.monotonic() < end and not ended_a():
                time.sleep(0.01)
            seen.append(ended_a())
        return names

    stage = Stage(run=run)
    stage.group = {"a": "first", "b": "second"}
    go(stage, book, "a", "b", usage=Usage(1, 3600, 2), scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "b"]
    assert seen == [True]


def refusing(error: Exception) -> Do:
    def do(name: str) -> None:
        if name == "bad":
            raise error

    return do


@pytest.mark.parametrize("step", ["prepare", "finish"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("No.", code="no"), "no"),
        (QualityRejected("No."), "quality_rejected"),
        (ValueError("?"), "internal_error"),
    ],
)
def test_a_bad_item_fails_alone(tmp_path: Path, step: str, error: Exception, code: str) -> None:
    book, stage = Book(), Stage(**{step: refusing(error)})
    go(stage, book, "a", "bad", "c", scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "c"]
    assert book.codes == {"bad": code}


def test_an_engines_refusal_of_one_item_is_that_items(tmp_path: Path) -> None:
    book = Book()
    stage = Stage(run=lambda names, _: [BadInput("No.", code="no") if name == "bad" else name for name in names])
    go(stage, book, "a", "bad", "c", scratch=tmp_path)
    assert book.codes == {"bad": "no"}
    assert len(stage.groups) == 1


def breaking(how: str) -> Do:
    def run(names: list[str], _progress: Progress) -> list[Any]:
        if "bad" not in names:
            return names
        if how == "raises":
            raise EngineFailed("It broke.")
        if how == "raises what it should not":
            raise RuntimeError("It broke.")
        if how == "gives too few":
            return names[1:]
        return [EngineFailed("It broke.") if name == "bad" else name for name in names]

    return run


@pytest.mark.parametrize("how", ["raises", "raises what it should not", "gives too few", "says so of the item"])
def test_what_breaks_the_engine_is_found_and_fails_alone(tmp_path: Path, how: str) -> None:
    book, stage = Book(), Stage(run=breaking(how))
    go(stage, book, "a", "bad", "c", "d", scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "c", "d"]
    assert book.codes == {"bad": "engine_crashed"}
    assert stage.groups.count(["bad"]) == 1


def test_a_process_of_the_engine_killed_twice_in_one_run_fails_nobody(tmp_path: Path) -> None:
    def run(names: list[str], _progress: Progress) -> list[str]:
        if "hit" in names:
            raise EngineProcessDied("A process died.")
        return names

    book, stage = Book(), Stage(run=run)
    go(stage, book, "a", "hit", "c", scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "c"]
    assert (book.failed, book.crashes) == ({}, ["hit"])
    assert stage.groups.count(["hit"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_the_engine_that_is_killed_from_outside_is_no_crash(tmp_path: Path) -> None:
    def run(names: list[str], _progress: Progress) -> list[str]:
        if "hit" in names:
            raise EngineProcessKilled("A process was killed.")
        return names

    book, stage = Book(), Stage(run=run)
    go(stage, book, "a", "hit", "c", scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "c"]
    assert (book.failed, book.crashes, book.handed_back) == ({}, [], ["hit"])


def test_nothing_runs_beside_an_item_that_is_tried_alone(tmp_path: Path) -> None:
    running: list[list[str]] = []
    beside: list[int] = []
    lock = threading.Lock()
    broken: list[str] = []

    def run(names: list[str], _progress: Progress) -> list[str]:
        with lock:
            running.append(names)
            if len(names) == 1 and names[0] in broken:
                beside.append(len(running))
        time.sleep(0.02)
        with lock:
            if names[0] in broken:
                beside.append(len(running))
            running.remove(names)
        if "i0" in names and not broken:
            broken.extend(names)
            raise EngineFailed("It broke.")
        return names

    book, stage = Book(), Stage(run=run)
    names = [f"i{number}" for number in range(24)]
    go(stage, book, *names, usage=Usage(2, 3600, 3), scratch=tmp_path)
    assert sorted(book.complete_ids) == sorted(names)
    assert beside
    assert set(beside) == {1}


@pytest.mark.parametrize("step", ["prepare", "run", "finish"])
@pytest.mark.parametrize("error", [StorageUnavailable("Away."), OSError(28, "No space left on device"), MemoryError()])
def test_a_fault_of_the_machine_ends_the_run_and_blames_nobody(tmp_path: Path, step: str, error: Exception) -> None:
    def do(*_: object) -> None:
        raise error

    book, engine = Book(), Engine(Usage(2, 3600, 1))
    with pytest.raises(type(error)):
        go(Stage(**{step: do}), book, "a", "b", engine=engine, scratch=tmp_path)
    assert (book.complete_ids, book.failed) == ([], {})
    assert engine.closed.is_set()
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_gone_ends_the_run_and_blames_nobody(tmp_path: Path) -> None:
    def run(*_: object) -> None:
        raise EngineUnavailable("The weights are gone.")

    book = Book()
    with pytest.raises(EngineUnavailable):
        go(Stage(run=run), book, "a", "b", scratch=tmp_path)
    assert book.failed == {}


def test_a_lost_lease_stops_at_once(tmp_path: Path) -> None:
    book = Book()

    def run(names: list[str], _progress: Progress) -> list[str]:
        book.lost = True
        return names

    with pytest.raises(LeaseLost):
        go(Stage(run=run), book, *[f"i{number}" for number in range(50)], usage=Usage(1, 3600, 1), scratch=tmp_path)
    assert len(book.begun) < 50


def test_a_call_under_way_ends_when_the_run_is_ended(tmp_path: Path) -> None:
    engine = Engine(Usage(1, 3600, 1))
    book = Book()
    ended: list[str] = []

    def run(names: list[str], progress: Progress) -> list[str]:
        book.lost = True
        try:
            for step in range(3000):  # 30 s: an hour of audio
                progress(0, step / 3000)
                time.sleep(0.01)
        except Exception as error:
            ended.append(type(error).__name__)
            raise
        return names

    with pytest.raises(LeaseLost):
        go(Stage(run=run), book, "a", engine=engine, scratch=tmp_path)
    assert engine.closed.is_set()
    assert ended == ["_Stopped"]


def test_no_more_than_the_window_is_in_memory(tmp_path: Path) -> None:
    book = Book()
    most = 0
    prepared = 0
    lock = threading.Lock()

    def prepare(_name: str) -> None:
        nonlocal most, prepared
        with lock:
            prepared += 1
            most = max(most, prepared - len(book.complete_ids))

    def run(names: list[str], _progress: Progress) -> list[str]:
        time.sleep(0.002)
        return names

    names = [f"i{number}" for number in range(100)]
    go(Stage(prepare=prepare, run=run), book, *names, usage=Usage(3, 3600, 2), scratch=tmp_path)
    assert len(book.complete_ids) == 100
    assert most <= 12


def test_groups_are_of_one_kind_and_no_longer_than_a_call_takes(tmp_path: Path) -> None:
    book, stage = Book(), Stage()
    stage.group = {"a": "x", "b": "y", "c": "x", "d": "y"}
    stage.seconds = {"e": 70, "f": 70, "g": 500}
    go(stage, book, *"abcdefg", usage=Usage(4, 100, 1), scratch=tmp_path)
    assert len(book.complete_ids) == 7
    assert sorted(name for group in stage.groups for name in group) == list("abcdefg")
    for group in stage.groups:
        assert len({stage.group.get(name, "") for name in group}) == 1
        assert len(group) == 1 or sum(stage.seconds.get(name, 1.0) for name in group) <= 100


def test_what_is_known_does_not_go_through_the_engine(tmp_path: Path) -> None:
    book, stage = Book(), Stage()
    stage.known = {"a": "as before"}
    go(stage, book, "a", "b", scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "b"]
    assert stage.groups == [["b"]]


def test_what_is_no_longer_wanted_is_left_out(tmp_path: Path) -> None:
    book, stage = Book(unwanted=["b"]), Stage()
    go(stage, book, "a", "b", scratch=tmp_path)
    assert book.complete_ids == ["a"]
    assert {folder.name for folder in stage.folders} == {"a"}


def test_progress_is_told_of_the_right_item(tmp_path: Path) -> None:
    book = Book()

    def run(names: list[str], progress: Progress) -> list[str]:
        for index in range(len(names)):
            progress(index, 0.5)
        return names

    go(Stage(run=run), book, "a", "b", scratch=tmp_path)
    assert sorted(book.shares) == [("a", 0.5), ("b", 0.5)]


def suspect(name: str, *, crashes: int = 0, interruptions: int = 0) -> ClaimedItem:
    return replace(item(name), crashes=crashes, interruptions=interruptions)


def test_who_is_inside_the_engine_is_noted_before_and_after_each_call(tmp_path: Path) -> None:
    book = Book()
    seen: list[tuple[list[str], list[str]]] = []

    def run(names: list[str], _progress: Progress) -> list[str]:
        seen.append((names, book.insides[-1]))
        return names

    go(Stage(run=run), book, *"abcdef", usage=Usage(2, 3600, 1), scratch=tmp_path)
    assert len(seen) == 3
    assert all(set(names) <= set(inside) for names, inside in seen)
    assert book.insides[-1] == []


def test_suspects_are_worked_on_last_and_each_alone(tmp_path: Path) -> None:
    book, stage = Book(), Stage()
    items = (
        suspect("s", crashes=1),
        item("a"),
        suspect("t", interruptions=3),
        item("b"),
        suspect("u", interruptions=1),
    )
    claimed = Claim("batch", "transcribe", "scripted", None, "cpu", 1, "run", items)
    engine = Engine(Usage(group_items=4, group_seconds=3600, parallel_calls=2))
    work_off(claimed, cast("Any", stage), cast("Any", engine), cast("BatchWriter", book), tmp_path)
    assert sorted(book.complete_ids) == ["a", "b", "s", "t", "u"]
    assert stage.groups[-2:] == [["s"], ["t"]]
    # Not even begun beside others.
    assert book.begun[-2:] == ["s", "t"]
    assert set(book.complete_ids[-2:]) == {"s", "t"}


def test_what_was_begun_before_is_no_suspect(tmp_path: Path) -> None:
    """Runs that were stopped, deploys, outages: an item may be begun often, and nothing is said of it by that."""
    book, stage = Book(), Stage()
    items = tuple(replace(item(name), attempts=9) for name in "abcd")
    claimed = Claim("batch", "transcribe", "scripted", None, "cpu", 1, "run", items)
    engine = Engine(Usage(group_items=4, group_seconds=3600, parallel_calls=1))
    work_off(claimed, cast("Any", stage), cast("Any", engine), cast("BatchWriter", book), tmp_path)
    assert [sorted(group) for group in stage.groups] == [list("abcd")]


def test_the_batch_is_given_back_before_anything_is_waited_for(tmp_path: Path) -> None:
    hangs, released = threading.Event(), threading.Event()
    order: list[str] = []

    def prepare(name: str) -> None:
        if name == "bad":
            hangs.wait(10)
            raise StorageUnavailable("Away.")
        hangs.set()
        released.wait(10)
        order.append("thread ended")

    class Giving(Book):
        def give_back(self, note: str, *, suspects: Sequence[str] = ()) -> None:
            order.append("given back")
            released.set()

    with pytest.raises(StorageUnavailable):
        go(Stage(prepare=prepare), Giving(), "bad", "hanging", scratch=tmp_path)
    assert order == ["given back", "thread ended"]


def test_a_lost_batch_is_not_given_back(tmp_path: Path) -> None:
    book = Book()
    book.lost = True
    with pytest.raises(LeaseLost):
        go(Stage(), book, "a", scratch=tmp_path)
    assert book.given_back == []


@pytest.mark.parametrize("step", ["prepare", "finish"])
def test_a_fault_of_ours_that_is_about_one_item_does_not_stop_the_others(tmp_path: Path, step: str) -> None:
    book, stage = Book(), Stage(**{step: refusing(StorageUnavailable("That one."))})
    engine = Engine(Usage(4, 3600, 1))
    work_off(
        claim("a", "bad", "c"),
        cast("Any", stage),
        cast("Any", engine),
        cast("BatchWriter", book),
        tmp_path,
        whose=lambda error: "item" if isinstance(error, StorageUnavailable) else "machine",
    )
    assert (sorted(book.complete_ids), book.handed_back, book.failed) == (["a", "c"], ["bad"], {})


@pytest.mark.parametrize("step", ["prepare", "run", "finish"])
@pytest.mark.parametrize("error", [OSError(36, "File name too long"), MemoryError()], ids=repr)
def test_a_fault_that_one_item_meets_each_time_is_handed_back_once_it_is_alone(
    tmp_path: Path, step: str, error: Exception
) -> None:
    def do(named: str | list[str], *_: object) -> object:
        if "bad" in named:
            raise error
        return named

    def mill(*items: ClaimedItem) -> Book:
        book, engine = Book(), Engine(Usage(1, 3600, 1))
        claimed = Claim("batch", "transcribe", "scripted", None, "cpu", 1, "run", items)
        with contextlib.suppress(type(error)):
            work_off(
                claimed,
                cast("Any", Stage(**{step: do})),
                cast("Any", engine),
                cast("BatchWriter", book),
                tmp_path,
                whose=lambda _: "unclear",
            )
        return book

    first = mill(item("bad"), item("b"))
    assert (first.suspects, first.handed_back, first.failed) == (["bad"], [], {})
    assert len(first.given_back) == 1
    later = mill(suspect("bad", interruptions=3), item("b"), suspect("c", interruptions=3))
    assert (sorted(later.complete_ids), later.handed_back, later.failed) == (["b", "c"], ["bad"], {})
    assert later.given_back == []


def test_a_call_for_a_cancelled_job_is_stopped(tmp_path: Path) -> None:
    book = Book()
    steps: list[int] = []

    def run(names: list[str], progress: Progress) -> list[str]:
        for step in range(3000):  # 30 s: an hour of audio
            if names == ["a"] and step == 3:
                book.unwanted = frozenset({"a"})
            progress(0, step / 3000)
            steps.append(step)
            if names != ["a"]:
                break
            time.sleep(0.01)
        return names

    go(Stage(run=run), book, "a", "b", usage=Usage(1, 3600, 1), scratch=tmp_path)
    assert book.complete_ids == ["b"]
    assert book.failed == {}
    assert len(steps) < 10


def test_of_a_shared_call_the_cancelled_jobs_result_is_dropped(tmp_path: Path) -> None:
    book, finished = Book(), []

    def run(names: list[str], progress: Progress) -> list[str]:
        book.unwanted = frozenset({"a"})
        progress(0, 0.5)
        return names

    stage = Stage(run=run, finish=finished.append)
    go(stage, book, "a", "b", scratch=tmp_path)
    assert (book.complete_ids, finished) == (["b"], ["b"])


def test_the_longest_sound_in_work_sets_the_limit(tmp_path: Path) -> None:
    book, stage = Book(), Stage()
    stage.seconds = {"a": 7200.0}
    go(stage, book, "a", "b", usage=Usage(1, 9999, 1), scratch=tmp_path)
    assert max(book.limits) == 7200.0
