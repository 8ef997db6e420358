"""The stream with items of many units: packed across items, gathered in their order, whatever happens to one."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiomill.engines.protocol import Progress, Usage
from audiomill.errors import AudiomillError, BadInput, EngineFailed, EngineProcessDied, StorageUnavailable
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.stage import Finished, Opened, Unit
from tests.unit.test_stream import Book, Engine, Stage, go


class Cutting(Stage):
    """Items of as many units as `counts` says; a unit is (item, number). `heard`: what each item was made of."""

    def __init__(self, counts: dict[str, int], **does: Any) -> None:
        super().__init__(**does)
        self.counts = counts
        self.first: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.gathered: list[tuple[str, int]] = []
        self.heard: dict[str, list[str]] = {}
        self.times: dict[str, float] = {}
        self.at_once = threading.local()

    def open(self, item: ClaimedItem, attempt: int, folder: Path) -> Opened[str]:
        opened = super().open(item, attempt, folder)
        return Opened(**{**vars(opened), "seconds": float(self.counts[item.id])})

    def units(self, opened: Opened[str]) -> Iterator[Unit[Any]]:
        name = opened.item.id
        for number in range(self.counts[name]):
            self.asked.append((name, number))
            yield Unit((name, number), 1.0, self.group.get(name, ""), first=number == 0 and name in self.first)

    def gather(self, opened: Opened[str], index: int, result: Any) -> Any:
        (opened.folder / f"{index}").write_text(str(result))
        self.gathered.append((opened.item.id, index))
        return result

    def finish(self, engine: Any, opened: Opened[str], kept: Sequence[Any], seconds: float) -> Finished:
        self.heard[opened.item.id] = list(kept)
        self.times[opened.item.id] = seconds
        return super().finish(engine, opened, kept, seconds)


def said(name: str, number: int) -> str:
    return f"{name}/{number}"


def speak(units: list[tuple[str, int]], _progress: Progress) -> list[Any]:
    return [said(*unit) for unit in units]


def expected(counts: dict[str, int]) -> dict[str, list[str]]:
    return {name: [said(name, number) for number in range(count)] for name, count in counts.items()}


counted = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 12), min_size=1)
used = st.builds(Usage, st.integers(1, 6), st.floats(1, 20), st.integers(1, 4))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=counted, usage=used, groups=st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xy")),
       first=st.sets(st.sampled_from("abcdefgh")), broken=st.sampled_from(["", *"abcdefgh"]))  # fmt: skip
def test_packing_order_and_calls_side_by_side_change_no_result(
    tmp_path: Path, counts: dict[str, int], usage: Usage, groups: dict[str, str], first: set[str], broken: str
) -> None:
    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        assert len(units) <= usage.group_items
        assert len({groups.get(name, "") for name, _ in units}) == 1
        if any(name == broken and number == 1 for name, number in units):
            raise EngineFailed("It broke.")
        for index in range(len(units)):
            progress(index, 1.0)
        return speak(units, progress)

    book, stage = Book(), Cutting(counts, run=run)
    stage.group, stage.first = groups, first
    go(stage, book, *counts, usage=usage, scratch=tmp_path)
    fails = {broken} if counts.get(broken, 0) > 1 else set()
    assert set(book.failed) == fails
    assert stage.heard == {name: heard for name, heard in expected(counts).items() if name not in fails}
    assert all(0 <= share <= 1 for _, share in book.shares)
    assert book.insides == [] or book.insides[-1] == []
    assert list(tmp_path.iterdir()) == []


def test_units_of_several_items_share_a_call(tmp_path: Path) -> None:
    counts = {"a": 3, "b": 3, "c": 2}
    book, stage = Book(), Cutting(counts, run=speak)
    go(stage, book, *counts, usage=Usage(4, 3600, 1), scratch=tmp_path)
    assert sorted(map(len, stage.groups)) == [4, 4]
    assert any(len({name for name, _ in group}) > 1 for group in cast("list[Any]", stage.groups))


def test_an_item_is_complete_with_its_last_unit_and_not_with_the_batch(tmp_path: Path) -> None:
    counts = {"short": 1, "long": 30}
    book = Book()
    seen: list[bool] = []

    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        if units == [("long", 29)]:
            end = time.monotonic() + 60
            while time.monotonic() < end and "short" not in book.complete_ids:
                time.sleep(0.01)
            seen.append("short" in book.complete_ids)
        return speak(units, progress)

    stage = Cutting(counts, run=run)
    go(stage, book, "long", "short", usage=Usage(1, 3600, 1), scratch=tmp_path)
    assert seen == [True]


def test_units_are_asked_for_as_they_are_taken(tmp_path: Path) -> None:
    """A book of hours is at no time cut whole."""
    ahead: list[int] = []
    stage = Cutting({"book": 500})

    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        time.sleep(0.005)
        ahead.append(len(stage.asked) - units[0][1])
        return speak(units, progress)

    stage._run = run
    go(stage, Book(), "book", usage=Usage(4, 3600, 1), scratch=tmp_path)
    assert max(ahead) <= 24
    assert stage.heard == expected({"book": 500})


def test_an_engine_that_is_faster_than_its_results_are_written_waits_for_them(tmp_path: Path) -> None:
    """What a call made is in memory until it is gathered: a book of hours would be, were its speech only counted."""
    made, waiting = 0, []
    at_rest = threading.Event()

    class Slow(Cutting):
        def gather(self, opened: Opened[str], index: int, result: Any) -> Any:
            """None is gathered before the engine makes no more by itself."""
            seen = -1
            while not at_rest.is_set() and seen != made:
                seen = made
                time.sleep(0.5)
            at_rest.set()
            return super().gather(opened, index, result)

    def run(units: list[tuple[str, int]], _progress: Progress) -> list[Any]:
        nonlocal made
        made += len(units)
        waiting.append(made - len(stage.gathered))
        return speak(units, _progress)

    stage = Slow({"book": 300}, run=run)
    go(stage, Book(), "book", usage=Usage(4, 4, 1), scratch=tmp_path)
    assert max(waiting) <= 16
    assert stage.heard == expected({"book": 300})


def test_of_units_that_others_depend_on_these_wait_for_the_result(tmp_path: Path) -> None:
    stage = Cutting({"a": 3, "b": 2})
    stage.first = {"a"}
    before: list[tuple[str, int]] = []

    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        if ("a", 0) in units:
            time.sleep(0.05)
            before.extend(unit for unit in stage.asked if unit[0] == "a")
        return speak(units, progress)

    stage._run = run
    go(stage, Book(), "a", "b", usage=Usage(1, 3600, 2), scratch=tmp_path)
    assert before == [("a", 0)]
    assert stage.gathered.index(("a", 0)) < stage.gathered.index(("a", 1))
    assert stage.heard == expected({"a": 3, "b": 2})


def test_a_unit_that_is_refused_fails_its_item_and_its_other_units_are_left(tmp_path: Path) -> None:
    def run(units: list[tuple[str, int]], progress: Progress) -> list[str | AudiomillError]:
        return [BadInput("No.", code="no") if unit == ("bad", 3) else said(*unit) for unit in units]

    counts = {"bad": 200, "good": 5}
    book, stage = Book(), Cutting(counts, run=run)
    go(stage, book, *counts, usage=Usage(2, 3600, 1), scratch=tmp_path)
    assert book.codes == {"bad": "no"}
    assert book.complete_ids == ["good"]
    assert sum(name == "bad" for group in cast("list[Any]", stage.groups) for name, _ in group) < 30


@pytest.mark.parametrize("died", [False, True])
def test_a_unit_that_breaks_the_engine_is_tried_alone_and_its_item_is_the_one(tmp_path: Path, died: bool) -> None:
    def run(units: list[tuple[str, int]], progress: Progress) -> list[str]:
        if ("bad", 2) in units:
            raise EngineProcessDied("Gone.") if died else EngineFailed("It broke.")
        return speak(units, progress)

    counts = {"a": 4, "bad": 6, "c": 4}
    book, stage = Book(), Cutting(counts, run=run)
    go(stage, book, *counts, usage=Usage(3, 3600, 2), scratch=tmp_path)
    assert sorted(book.complete_ids) == ["a", "c"]
    assert (book.crashes, book.codes) == ((["bad"], {}) if died else ([], {"bad": "engine_crashed"}))
    assert cast("list[Any]", stage.groups).count([("bad", 2)]) == 1


def test_what_gathering_raises_is_that_items(tmp_path: Path) -> None:
    class Full(Cutting):
        def gather(self, opened: Opened[str], index: int, result: Any) -> Any:
            if (opened.item.id, index) == ("bad", 1):
                raise BadInput("Too long.", code="too_long")
            return super().gather(opened, index, result)

    counts = {"bad": 50, "good": 3}
    book, stage = Book(), Full(counts, run=speak)
    go(stage, book, *counts, usage=Usage(1, 3600, 1), scratch=tmp_path)
    assert (book.codes, book.complete_ids) == ({"bad": "too_long"}, ["good"])


def test_progress_is_of_the_item_and_only_grows(tmp_path: Path) -> None:
    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        for index in range(len(units)):
            progress(index, 0.5)
        return speak(units, progress)

    book = Book()
    go(Cutting({"a": 10}, run=run), book, "a", usage=Usage(1, 3600, 1), scratch=tmp_path)
    shares = [share for _, share in book.shares]
    assert shares == sorted(shares)
    assert 0 < shares[0] <= 0.1
    assert shares[-1] >= 0.9


def test_a_cancelled_items_units_are_left_and_its_files_go(tmp_path: Path) -> None:
    book = Book()

    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        if ("a", 5) in units:
            book.unwanted = frozenset({"a"})
        return speak(units, progress)

    counts = {"a": 300, "b": 3}
    stage = Cutting(counts, run=run)
    go(stage, book, *counts, usage=Usage(1, 3600, 1), scratch=tmp_path)
    assert (book.complete_ids, book.failed) == (["b"], {})
    assert sum(name == "a" for group in cast("list[Any]", stage.groups) for name, _ in group) < 20


def test_the_engines_time_is_shared_by_units(tmp_path: Path) -> None:
    def run(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        time.sleep(0.01)
        return speak(units, progress)

    stage = Cutting({"a": 6, "b": 2}, run=run)
    go(stage, Book(), "a", "b", engine=Engine(Usage(8, 3600, 1)), scratch=tmp_path)
    assert stage.times["a"] == pytest.approx(3 * stage.times["b"], rel=0.01)


class Remembering(Cutting):
    """Units have keys, and their results lie in `shelf`."""

    def __init__(self, counts: dict[str, int], shelf: dict[str, Any], **does: Any) -> None:
        super().__init__(counts, **does)
        self.shelf = shelf
        self.looks: list[int] = []

    def units(self, opened: Opened[str]) -> Iterator[Unit[Any]]:
        for unit in super().units(opened):
            yield Unit(unit.payload, unit.seconds, unit.group, unit.first, key=said(*unit.payload))

    def recall(self, keys: Collection[str]) -> dict[str, Any]:
        self.looks.append(len(keys))
        return {key: self.shelf[key] for key in keys if key in self.shelf}

    def keep(self, opened: Opened[str], results: Mapping[str, Any]) -> None:
        self.shelf.update(results)


def test_a_retry_costs_what_is_left(tmp_path: Path) -> None:
    shelf: dict[str, Any] = {}
    counts = {"a": 20}

    def away(units: list[tuple[str, int]], progress: Progress) -> list[Any]:
        if ("a", 12) in units:
            time.sleep(0.1)
            raise StorageUnavailable("Away.")
        return speak(units, progress)

    usage = Usage(1, 3600, 1)
    with pytest.raises(StorageUnavailable):
        go(Remembering(counts, shelf, run=away), Book(), "a", usage=usage, scratch=tmp_path)
    assert set(shelf) >= {said("a", number) for number in range(11)}
    again = Remembering(counts, shelf, run=speak)
    book = Book()
    go(again, book, "a", usage=usage, scratch=tmp_path)
    assert again.heard == expected(counts)
    assert sum(map(len, again.groups)) <= 9
    assert len(again.looks) < 20, "looked up together"
    assert all(share > 0.5 for _, share in book.shares), "what was done before counts"


def test_what_is_wholly_known_ends_without_the_engine(tmp_path: Path) -> None:
    shelf = {said(name, number): said(name, number) for name in "ab" for number in range(3)}
    stage = Remembering({"a": 3, "b": 3}, shelf, run=speak)
    stage.first = {"b"}
    go(stage, Book(), "a", "b", scratch=tmp_path)
    assert (stage.heard, stage.groups) == (expected({"a": 3, "b": 3}), [])


def test_units_of_an_item_that_ends_are_not_kept(tmp_path: Path) -> None:
    shelf: dict[str, Any] = {}
    go(Remembering({"a": 3}, shelf, run=speak), Book(), "a", usage=Usage(8, 3600, 1), scratch=tmp_path)
    assert shelf == {}
