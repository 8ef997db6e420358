"""Stages whose results are several files: what they read comes by its name in the plan, what they make are parts.

What the files are is the stage's; of one that needs no engine, see unaided.py. A result that was made before by the
same making is fetched instead of made again.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import rfc8785

from audiomill.audio import Audio
from audiomill.engines.protocol import Engine
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.bench import Bench
from audiomill.milling.delivery import Made, deliver, making_key
from audiomill.milling.fetching import fetch
from audiomill.milling.stage import Finished, Kept, Opened, Payload, Result, StageWork
from audiomill.quality import Check, require

CHECKS = "checks"
"""The part that holds what was found of the others, for who delivers later what is made of them."""

Own = TypeVar("Own")
"""What an item is to its stage while it is worked on."""


@dataclass(frozen=True)
class Reads:
    """The files that an item reads, by the names in its plan (`input:subtitles`, `cast/lines`)."""

    files: Mapping[str, Path]

    def __getitem__(self, part: str) -> Path:
        """The file of an input's role or of a part, whichever step made it. Raises KeyError."""
        found = self.find(part)
        if found is None:
            raise KeyError(part)
        return found

    def find(self, part: str) -> Path | None:
        """The same; None where a step that may fail made none, or the order has none."""
        return next((path for name, path in self.files.items() if _last(name) == part), None)

    def all(self, part: str) -> list[Path]:
        """Of every step that made one."""
        return [path for name, path in self.files.items() if _last(name) == part]


@dataclass(frozen=True)
class Looked(Generic[Own]):
    """What a stage sees in what an item reads. seconds: of sound, in or expected out."""

    own: Own
    seconds: float


@dataclass(frozen=True)
class PartsMade:
    """Files by the part that they are, and what was found of them, flaws of what was read among it.

    delivered: by the names that customers know.

    recording_seconds: of the recording that is read first. picture: what the batch's picture shows of it.
    """

    parts: Mapping[str, Path]
    checks: Sequence[Check]
    seconds: float
    delivered: Mapping[str, Path] = field(default_factory=dict)
    recording_seconds: float | None = None
    picture: Audio | None = None


@dataclass(frozen=True)
class Hand(Generic[Own]):
    """An item at hand. own: None where its parts are known."""

    reads: Reads
    own: Own | None
    known: Mapping[str, Path] = field(default_factory=dict)


class PartsWork(StageWork[Hand[Own], Payload, Result, Kept]):
    """One stage's own part of a run. It writes `look`, `made` and `recalled` beside `units`, `run` and `gather`.

    recallable: whether its parts are all that it makes; if not, it is made each time.
    """

    recallable: ClassVar[bool] = True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @abstractmethod
    def look(self, item: ClaimedItem, reads: Reads, folder: Path) -> Looked[Own]:
        """Decode, parse, check what the item reads. Raises CustomerError."""

    @abstractmethod
    def made(self, engine: Engine, opened: Opened[Hand[Own]], kept: Sequence[Kept]) -> PartsMade:
        """The parts, of what the units came to. Raises CustomerError."""

    def recalled(self, opened: Opened[Hand[Own]], known: Mapping[str, Path], checks: Sequence[Check]) -> PartsMade:
        """The same of parts that were made before; without what the customer gets, unless the stage says more."""
        return PartsMade(known, checks, opened.seconds)

    def open(self, item: ClaimedItem, attempt: int, folder: Path) -> Opened[Hand[Own]]:
        """Fetch what the item reads; look at it, unless its parts are known."""
        bench = self._bench
        files: dict[str, Path] = {}
        hashes: list[list[str]] = []
        for place, ref in enumerate(item.inputs):
            files[ref.name] = folder / f"read-{place}"
            hashes.append([_last(ref.name), fetch(bench.store, ref, files[ref.name], bench.settings)])
        sha256 = hashes[0][1] if len(hashes) == 1 else hashlib.sha256(rfc8785.dumps(hashes)).hexdigest()
        key = making_key(item.workspace_id, item.stage, bench.engine.identity, sha256, item.options)
        reads = Reads(files)
        known = bench.fetch_parts(key, folder) if self.recallable else {}
        looked = Looked[Own | None](None, item.audio_seconds) if known else self.look(item, reads, folder)
        return Opened(
            item=item,
            attempt=attempt,
            folder=folder,
            material=Hand(reads, looked.own, known),
            seconds=looked.seconds,
            input_sha256=hashes[0][1],
            artifact_key=key,
            known=bool(known),
        )

    def finish(self, engine: Engine, opened: Opened[Hand[Own]], kept: Sequence[Kept], seconds: float) -> Finished:
        """Check, store, deliver. Raises QualityRejected."""
        if opened.known:
            known = dict(opened.material.known)
            result = self.recalled(opened, known, read_checks(known[CHECKS]))
        else:
            result = self.made(engine, opened, kept)
        require(result.checks)
        told = opened.folder / "checks.json"
        told.write_bytes(_written(result.checks))
        first = next(iter(result.parts.values()))
        made = Made(
            artifact=first,
            artifact_suffix=first.suffix,
            parts={**result.parts, CHECKS: told},
            files=result.delivered if opened.item.delivers else {},
            checks=result.checks,
            recording_seconds=result.recording_seconds,
            audio_seconds=result.seconds,
        )
        delivered = deliver(self._bench.store, self._bench.key, engine.identity, opened, made, seconds)
        return Finished(delivered, result.picture)


def read_checks(path: Path) -> list[Check]:
    """The checks of a part `checks`."""
    return [Check(**check) for check in json.loads(path.read_bytes())]


def _written(checks: Sequence[Check]) -> bytes:
    return json.dumps([asdict(check) for check in checks], ensure_ascii=False, allow_nan=False).encode()


def _last(name: str) -> str:
    """`subtitles` of `input:subtitles`, `lines` of `cast/lines`."""
    return name.rpartition("/")[2].removeprefix("input:")
