"""What a stage must know how to do, and what it and the stream hand each other: an item at hand, its units, its end.

A stage whose items are one unit each writes `open`, `run` and `finish`. One that cuts them writes `units` too, and
`gather` where a result is too much to be held until its item ends; `recall` and `keep` where a unit is worth keeping.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, cast

from audiomill.audio import Audio, Flaw
from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.working import ItemResult

Material = TypeVar("Material")
"""What an item is to its stage while it is worked on: a text, a sound in a file."""

Payload = TypeVar("Payload")
Result = TypeVar("Result")
Kept = TypeVar("Kept")
"""A unit's result as it is held until its item ends; the result itself where that is small."""


@dataclass(frozen=True)
class Opened(Generic[Material]):
    """An item at hand: fetched and looked at.

    seconds: of sound, in or expected out: what progress is counted in.
    artifact_key: names what the stage will make of this input with these parameters.
    folder: of this item alone; removed when it has ended.
    group: of its units, where `units` says nothing else.
    known: an earlier job's result with the same artifact key is in `material`: there are no units.
    flaws: what is wrong with an input that can be worked on all the same; the receipt names them.
    """

    item: ClaimedItem
    attempt: int
    folder: Path
    material: Material
    seconds: float
    input_sha256: str
    artifact_key: str
    group: Hashable = None
    known: bool = False
    flaws: tuple[Flaw, ...] = ()


@dataclass(frozen=True)
class Unit(Generic[Payload]):
    """The smallest piece that an engine takes. Small itself: sound is a view of a file.

    seconds: of sound, in or expected out: what packing counts.
    group: units of equal groups, of whatever items, may share a call of the engine (the same parameters).
    first: the units after it depend on its result: they are asked for when it is gathered.
    key: names its result by all that it depends on, where that is worth keeping: whoever works on the item again, after
        a run that ended early, finds it.
    """

    payload: Payload
    seconds: float
    group: Hashable = None
    first: bool = False
    key: str | None = None


@dataclass(frozen=True)
class Finished:
    """What one item came to, and the sound that its picture is drawn from."""

    result: ItemResult
    picture: Audio | None


class StageWork(ABC, Generic[Material, Payload, Result, Kept]):
    """One stage's own part of a run (a folder of audiomill/stages). Its methods are called from several threads.

    What they raise: CustomerError where the input is at fault (the item fails with it), OperatorError or OSError where
    this machine cannot go on. Anything else is a fault of ours, and fails the item as ours.

    units_outlive_items: units with keys are kept to the last one, for their item may be made anew with some of them
    edited.
    """

    units_outlive_items: ClassVar[bool] = False

    @abstractmethod
    def open(self, item: ClaimedItem, attempt: int, folder: Path) -> Opened[Material]:
        """Fetch and look at the input."""

    def units(self, opened: Opened[Material]) -> Iterator[Unit[Payload]]:
        """Cut it. Units are asked for as the engine takes them, by one thread at a time."""
        yield Unit(cast("Payload", opened.material), opened.seconds, opened.group)

    @abstractmethod
    def run(self, engine: Engine, units: Sequence[Unit[Payload]], progress: Progress) -> list[Result | AudiomillError]:
        """One call of the engine: units of equal groups in, as many results out.

        Raises EngineFailed when the engine broke and no result can be trusted.
        """

    def gather(self, opened: Opened[Material], index: int, result: Result) -> Kept:  # noqa: ARG002 - for those that need them
        """Make a unit's result small, most likely by writing it to the folder; never twice at once for an item.

        index: the unit's place. Results come in any order.
        """
        return cast("Kept", result)

    def recall(self, keys: Collection[str]) -> Mapping[str, Result]:  # noqa: ARG002 - for those that give keys
        """Results of units that were kept, by key; all of them in one look."""
        return {}

    def keep(self, opened: Opened[Material], results: Mapping[str, Result]) -> None:
        """Keep results of units by their keys, so that `recall` finds them."""

    @abstractmethod
    def finish(self, engine: Engine, opened: Opened[Material], kept: Sequence[Kept], seconds: float) -> Finished:
        """Put together what the units came to, in their order; check, encode and store. `seconds`: the engine's."""


AnyStage: TypeAlias = StageWork[Any, Any, Any, Any]
"""To the stream all are alike: it hands on what it does not know."""
