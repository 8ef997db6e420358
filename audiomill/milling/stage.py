"""What the parts of a stage hand each other: an item made ready, and what a stage must know how to do."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from audiomill.audio import Audio, Flaw
from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.working import ItemResult

Payload = TypeVar("Payload")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Prepared(Generic[Payload, Result]):
    """An item fetched and decoded.

    group: items of equal groups may share a call of the engine (the same parameters).
    seconds: of sound, in or expected out: what packing counts.
    artifact_key: names what the stage will make of this input with these parameters.
    known: the result of an earlier job with the same artifact key; the engine need not run.
    folder: of this item alone; removed when it has ended.
    flaws: what is wrong with an input that can be worked on all the same; the receipt names them.
    """

    item: ClaimedItem
    attempt: int
    payload: Payload
    group: Hashable
    seconds: float
    input_sha256: str
    artifact_key: str
    folder: Path
    known: Result | None = None
    flaws: tuple[Flaw, ...] = ()


@dataclass(frozen=True)
class Finished:
    """What one item came to, and the sound that its picture is drawn from."""

    result: ItemResult
    picture: Audio | None


class StageWork(Protocol[Payload, Result]):
    """One stage's own part of a run (a folder of audiomill/stages)."""

    def prepare(self, item: ClaimedItem, attempt: int, folder: Path) -> Prepared[Payload, Result]:
        """Fetch and decode. Called from several threads. Raises CustomerError when the input is at fault."""
        ...

    def run(
        self, engine: Engine, group: Sequence[Prepared[Payload, Result]], progress: Progress
    ) -> list[Result | AudiomillError]:
        """One call of the engine. Raises EngineFailed when the engine broke and no result can be trusted."""
        ...

    def finish(self, engine: Engine, prepared: Prepared[Payload, Result], result: Result, seconds: float) -> Finished:
        """Check, encode and store; `seconds` is the engine's time. From several threads. Raises CustomerError."""
        ...
