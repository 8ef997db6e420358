"""Stages that need no engine: an item is one unit, worked on in the place of an engine's call."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, cast

import structlog
from pydantic import BaseModel

from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError, CustomerError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.parts import Hand, Looked, PartsMade, PartsWork, Reads
from audiomill.milling.stage import Opened, Unit
from audiomill.milling.verdicts import OF_THE_MACHINE, a_fault_of_ours

log = structlog.get_logger(__name__)

Settled = TypeVar("Settled", bound=BaseModel)
"""A stage's own options."""


@dataclass(frozen=True)
class Task(Generic[Settled]):
    """One item: what it reads, how it is to be done, and where."""

    reads: Reads
    options: Settled
    folder: Path


class UnaidedWork(PartsWork[Task[Settled], Hand[Task[Settled]], PartsMade, PartsMade]):
    """One stage's own part of a run. It writes `work` and says what its options are."""

    options: ClassVar[type[BaseModel]]

    @abstractmethod
    def work(self, task: Task[Settled]) -> PartsMade:
        """All of it. Raises CustomerError."""

    def look(self, item: ClaimedItem, reads: Reads, folder: Path) -> Looked[Task[Settled]]:
        """Nothing yet: what is done side by side with other things is not counted."""
        options = cast("Settled", self.options.model_validate(item.options))
        return Looked(Task(reads, options, folder), item.audio_seconds)

    def run(
        self,
        engine: Engine,  # noqa: ARG002 - the protocol's
        units: Sequence[Unit[Hand[Task[Settled]]]],
        progress: Progress,  # noqa: ARG002 - of moments
    ) -> list[PartsMade | AudiomillError]:
        """Each by itself."""
        return [self._tried(unit.payload.own) for unit in units if unit.payload.own is not None]

    def made(
        self,
        engine: Engine,  # noqa: ARG002 - the protocol's
        opened: Opened[Hand[Task[Settled]]],  # noqa: ARG002
        kept: Sequence[PartsMade],
    ) -> PartsMade:
        """As it was made."""
        return kept[0]

    def _tried(self, task: Task[Settled]) -> PartsMade | AudiomillError:
        try:
            return self.work(task)
        except CustomerError as error:
            return error
        except OF_THE_MACHINE:
            raise
        except Exception as error:
            # No engine broke here: it would be told that its input breaks one, and to convert it.
            log.exception("our own work on an item broke")
            return a_fault_of_ours(error)
