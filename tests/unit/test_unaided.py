"""Stages that need no engine: what breaks there is no engine's, and never its input's."""

from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from pydantic import BaseModel

from audiomill.errors import AudiomillError, BadInput, CustomerError, StorageUnavailable
from audiomill.milling.bench import Bench
from audiomill.milling.parts import Hand, PartsMade, Reads
from audiomill.milling.stage import Unit
from audiomill.milling.unaided import Task, UnaidedWork


class Nothing(BaseModel):
    """No options."""


class Breaking(UnaidedWork[Nothing]):
    """Raises what it is told to."""

    options: ClassVar[type[BaseModel]] = Nothing

    def __init__(self, error: Exception) -> None:
        super().__init__(cast("Bench", None))
        self._error = error

    def work(self, task: Task[Nothing]) -> PartsMade:
        raise self._error


def made(error: Exception, folder: Path) -> list[PartsMade | AudiomillError]:
    reads = Reads({})
    hand = Hand(reads, Task(reads, Nothing(), folder))
    return Breaking(error).run(cast("Any", None), [Unit(hand, 1.0)], lambda *_: None)


@pytest.mark.parametrize("error", [ValueError("a bug"), RecursionError("deep"), KeyError("lines")], ids=repr)
def test_a_bug_of_ours_is_no_engine_that_broke(tmp_path: Path, error: Exception) -> None:
    (failure,) = made(error, tmp_path)
    assert isinstance(failure, CustomerError)
    assert failure.code == "internal_error"
    assert failure.__cause__ is error
    assert str(error) not in failure.message


def test_what_is_the_inputs_is_told(tmp_path: Path) -> None:
    error = BadInput("No lines.")
    assert made(error, tmp_path) == [error]


@pytest.mark.parametrize("error", [StorageUnavailable("away"), OSError(28, "full"), MemoryError()], ids=repr)
def test_what_is_the_machines_is_raised(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        made(error, tmp_path)
