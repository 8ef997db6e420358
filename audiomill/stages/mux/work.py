"""The stage `mux`: a dub back into its film, with subtitles in both languages, and the files that are delivered."""

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from audiomill.audio import SoundFormat, decode
from audiomill.lines.document import Lines
from audiomill.milling.parts import CHECKS, PartsMade, Reads, read_checks
from audiomill.milling.unaided import Task, UnaidedWork
from audiomill.quality import Check
from audiomill.quality.listening import heard_back
from audiomill.stages.mux.delivered import delivered
from audiomill.transcripts.formats import parse_json

MOST_WORD_ERRORS = 0.9
"""pocketsphinx errs in 0.84 of the words of espeak-ng's voice: above it not even that is left."""


class Options(BaseModel):
    """track: of the source, 1 is the first. formats: of the dub where the source has no picture."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    track: Annotated[int, Field(ge=1)] | None = None
    formats: tuple[SoundFormat, ...] = ("flac",)


class Muxing(UnaidedWork[Options]):
    """What the stream must know of this stage. What it makes is delivered; to keep a film twice would serve nobody."""

    options: ClassVar[type[BaseModel]] = Options
    recallable: ClassVar[bool] = False

    def work(self, task: Task[Options]) -> PartsMade:
        """Write the files. Raises BadInput, LimitExceeded."""
        limits, options = self._bench.settings.limits, task.options
        lines = Lines.from_json(task.reads["lines"].read_bytes())
        dub = decode(task.reads["dub"], spool=task.folder / "dub", limits=limits).audio
        out = task.folder / "out"
        out.mkdir()
        done = delivered(
            task.reads["source"],
            dub,
            lines,
            out,
            track=None if options.track is None else options.track - 1,
            formats=options.formats,
            limits=limits,
        )
        # On the receipt; their sentences were told when they were found.
        checks = [replace(check, reason=None) for path in task.reads.all(CHECKS) for check in read_checks(path)]
        checks += [*done.checks, *_heard(task.reads, lines)]
        return PartsMade({"lines": done.files["lines.json"]}, checks, dub.seconds, done.files, picture=dub)


def _heard(reads: Reads, lines: Lines) -> list[Check]:
    """Nothing where nobody listened: not judged."""
    heard = reads.find("result")
    if heard is None:
        return []
    wanted = " ".join(line.translation or "" for line in lines.lines)
    return [heard_back(wanted, parse_json(heard.read_bytes()).text, MOST_WORD_ERRORS)]
