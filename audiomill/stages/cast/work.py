"""The stage `cast`: what was heard, or subtitles, in; the lines of a dub out, each with who speaks it."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from audiomill.audio import decode
from audiomill.lines.subtitles import Imported, read_subtitles
from audiomill.milling.parts import PartsMade
from audiomill.milling.unaided import Task, UnaidedWork
from audiomill.quality import Check
from audiomill.stages.cast.script import Given, script
from audiomill.stages.cast.speakers import with_speakers
from audiomill.transcripts.formats import parse_json


class Options(BaseModel):
    """source_language: None: as it was heard."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    source_language: str | None = None
    target_language: str


class Casting(UnaidedWork[Options]):
    """What the stream must know of this stage."""

    options: ClassVar[type[BaseModel]] = Options

    def work(self, task: Task[Options]) -> PartsMade:
        """Read, and listen. Raises BadInput, LimitExceeded."""
        voice = decode(task.reads["voice"], spool=task.folder / "voice", limits=self._bench.settings.limits).audio
        duration_ms = round(voice.seconds * 1000)
        heard = task.reads.find("result")
        given = Given(
            heard=parse_json(heard.read_bytes()) if heard is not None else None,
            source=_imported(task.reads.find("source_subtitles"), duration_ms),
            target=_imported(task.reads.find("subtitles"), duration_ms),
        )
        found = script(
            given,
            source_language=task.options.source_language,
            target_language=task.options.target_language,
            duration_ms=duration_ms,
        )
        path = task.folder / "lines.json"
        path.write_bytes(with_speakers(found.lines, voice).to_json())
        checks = [Check(note.code, passed=False, value=1, limit=0, reason=note.message) for note in found.notes]
        return PartsMade({"lines": path}, checks, voice.seconds)


def _imported(path: Path | None, duration_ms: int) -> Imported | None:
    return None if path is None else read_subtitles(path.read_bytes(), duration_ms=duration_ms)
