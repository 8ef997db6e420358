"""The stage `separate`: a recording in, its voice and background out. The files are `stems`', the engine its own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field

from audiomill.audio import decode
from audiomill.audio.blocks import let_go
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.separation.protocol import Chunk, Separated, Separator
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.milling.parts import Hand, Looked, PartsMade, PartsWork, Reads
from audiomill.milling.stage import Opened, Unit
from audiomill.quality import Check
from audiomill.stages.separate.stems import Source, Stems, opened, units


class Options(BaseModel):
    """track: 1 is the first. written_again: a film gets its sound back later."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    track: Annotated[int, Field(ge=1)] | None = None
    written_again: bool = False


class Own:
    """The source, and what was kept of its chunks."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.source, self.stems = source, Stems(source, folder)


class Separating(PartsWork[Own, Chunk, Separated, None]):
    """What the stream must know of this stage. Its units are chunks."""

    def look(self, item: ClaimedItem, reads: Reads, folder: Path) -> Looked[Own]:
        """Decode the sound track that is wanted. Raises BadInput, LimitExceeded."""
        options = Options.model_validate(item.options)
        source = opened(
            reads["source"],
            spool=folder / "samples",
            track=None if options.track is None else options.track - 1,
            written_again=options.written_again,
            limits=self._bench.settings.limits,
        )
        return Looked(Own(source, folder), source.audio.seconds)

    def units(self, opened: Opened[Hand[Own]]) -> Iterator[Unit[Chunk]]:
        """Chunks, each with its context."""
        assert opened.material.own is not None  # noqa: S101 - not known
        source = opened.material.own.source
        for chunk in units(source, context_seconds=cast("Separator", self._bench.engine).context_seconds):
            yield Unit(chunk, (chunk.last - chunk.first) / source.audio.sample_rate_hz)

    def run(self, engine: Engine, units: Sequence[Unit[Chunk]], progress: Progress) -> list[Separated | AudiomillError]:
        """One call."""
        results = cast("Separator", engine).separate([unit.payload for unit in units], progress)
        for unit in units:
            let_go(unit.payload.audio.samples)
        return results

    def gather(self, opened: Opened[Hand[Own]], index: int, result: Separated) -> None:
        """To disk."""
        assert opened.material.own is not None  # noqa: S101 - not known
        opened.material.own.stems.keep(index, result)

    def made(self, engine: Engine, opened: Opened[Hand[Own]], kept: Sequence[None]) -> PartsMade:  # noqa: ARG002
        """The two files."""
        assert opened.material.own is not None  # noqa: S101 - not known
        own = opened.material.own
        checks = [Check(flaw.code, passed=False, value=1, limit=0, reason=flaw.message) for flaw in own.source.flaws]
        return self._told(own.stems.files(), checks, opened.seconds)

    def recalled(self, opened: Opened[Hand[Own]], known: Mapping[str, Path], checks: Sequence[Check]) -> PartsMade:
        """The two files, too."""
        seconds = decode(known["voice"], limits=self._bench.settings.limits, spool=opened.folder / "v").audio.seconds
        return self._told(known, checks, seconds)

    @staticmethod
    def _told(files: Mapping[str, Path], checks: Sequence[Check], seconds: float) -> PartsMade:
        delivered = {f"{name}.flac": files[name] for name in ("voice", "background")}
        return PartsMade(files, checks, seconds, delivered, recording_seconds=seconds)
