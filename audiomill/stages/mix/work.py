"""The stage `mix`: spoken lines and the background in, the dub out, as loud as the original."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from audiomill.audio import Audio, decode, encode_file
from audiomill.lines.document import Lines
from audiomill.milling.parts import PartsMade
from audiomill.milling.unaided import Task, UnaidedWork
from audiomill.stages.mix.checks import judge_dub
from audiomill.stages.mix.mixing import dubbed


class Options(BaseModel):
    """None."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Mixing(UnaidedWork[Options]):
    """What the stream must know of this stage."""

    options: ClassVar[type[BaseModel]] = Options

    def work(self, task: Task[Options]) -> PartsMade:
        """Fit, mix, and judge."""
        lines = Lines.from_json(task.reads["lines"].read_bytes())
        voice, background, speech = (self._sound(task, name) for name in ("voice", "background", "speech"))
        dub = dubbed(lines, speech, voice=voice, background=background)
        checks = judge_dub(dub, voice=voice, background=background)
        parts = {"dub": task.folder / "dub.flac", "lines": task.folder / "lines.json"}
        encode_file(dub.audio, "flac", parts["dub"])
        parts["lines"].write_bytes(dub.lines.to_json())
        return PartsMade(parts, checks, dub.audio.seconds, picture=dub.audio)

    def _sound(self, task: Task[Options], name: str) -> Audio:
        return decode(task.reads[name], spool=task.folder / name, limits=self._bench.settings.limits).audio
