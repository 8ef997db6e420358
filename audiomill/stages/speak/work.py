"""The stage `speak`: lines in, each spoken by the voice of its speaker out, all in one file."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field

from audiomill.audio.encode import encode, from_wav
from audiomill.catalogue.speaking import least_seconds
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.text_to_speech.protocol import Speech, TextToSpeech
from audiomill.errors import AudiomillError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.lines.document import Lines
from audiomill.milling.bench import unit_key
from audiomill.milling.delivery import making_key
from audiomill.milling.parts import Hand, Looked, PartsMade, PartsWork, Reads
from audiomill.milling.stage import Opened, Unit
from audiomill.stages.speak.speech import LineUnit, SpokenLines, Unspoken, check_length, or_unspoken, units
from audiomill.stages.speak.voices import with_voices


class Options(BaseModel):
    """voices: by speaker. rate_wpm: before lines are fitted."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    voices: dict[str, str] = {}
    rate_wpm: Annotated[int, Field(ge=80, le=450)] = 175


class Own:
    """The lines with their voices, and what was kept of their sounds."""

    def __init__(self, lines: Lines, folder: Path, longest_seconds: float) -> None:
        self.lines, self.spoken = lines, SpokenLines(lines, folder, longest_seconds=longest_seconds)


class Speaking(PartsWork[Own, LineUnit, Speech | Unspoken, None]):
    """What the stream must know of this stage. Its units are lines, which customers edit one by one."""

    units_outlive_items: ClassVar[bool] = True

    def look(self, item: ClaimedItem, reads: Reads, folder: Path) -> Looked[Own]:
        """Read the lines and give each its voice. Raises BadInput (`no_voice`), LimitExceeded."""
        options = Options.model_validate(item.options)
        engine = cast("TextToSpeech", self._bench.engine)
        lines = Lines.from_json(reads["lines"].read_bytes())
        # However short the film is: its lines may be two million words.
        longest = self._bench.settings.limits.max_seconds
        check_length(lines, options.rate_wpm, longest)
        lines = with_voices(lines, options.voices, engine)
        return Looked(Own(lines, folder, longest), lines.duration_ms / 1000)

    def units(self, opened: Opened[Hand[Own]]) -> Iterator[Unit[LineUnit]]:
        """The lines; those of one voice share a call."""
        assert opened.material.own is not None  # noqa: S101 - not known
        options = Options.model_validate(opened.item.options)
        for unit in units(opened.material.own.lines, options.rate_wpm):
            key = self._key(opened.item, unit)
            yield Unit(unit, least_seconds(unit.text, rate_wpm=options.rate_wpm), unit.parameters, key=key)

    def _key(self, item: ClaimedItem, unit: LineUnit) -> str:
        """Of a line, wherever it stands: an edited one costs itself."""
        sha256 = hashlib.sha256(unit.text.encode()).hexdigest()
        parameters = unit.parameters.model_dump(mode="json")
        return unit_key(making_key(item.workspace_id, item.stage, self._bench.engine.identity, sha256, parameters))

    def run(
        self, engine: Engine, units: Sequence[Unit[LineUnit]], progress: Progress
    ) -> list[Speech | Unspoken | AudiomillError]:
        """One call. All lines have the same parameters."""
        results = cast("TextToSpeech", engine).synthesize(
            [unit.payload.text for unit in units],
            units[0].payload.parameters,
            progress,
            longest_seconds=self._bench.settings.limits.max_seconds,
        )
        return [or_unspoken(unit.payload, result) for unit, result in zip(units, results, strict=True)]

    def gather(self, opened: Opened[Hand[Own]], index: int, result: Speech | Unspoken) -> None:
        """To disk; every line is a unit, so that the unit's place is the line's."""
        assert opened.material.own is not None  # noqa: S101 - not known
        opened.material.own.spoken.keep(index, result)

    def recall(self, keys: Collection[str]) -> Mapping[str, Speech | Unspoken]:
        """Lines that were spoken before: by a run that did not come to its end, or in another revision."""
        return {key: Speech(from_wav(data)) for key, data in self._bench.units(keys).items()}

    def keep(self, opened: Opened[Hand[Own]], results: Mapping[str, Speech | Unspoken]) -> None:
        """As 16-bit wav, which is how lines are joined."""
        found = {key: encode(one.audio, "wav").data for key, one in results.items() if isinstance(one, Speech)}
        self._bench.keep_units(opened.item, found, ".wav")

    def made(self, engine: Engine, opened: Opened[Hand[Own]], kept: Sequence[None]) -> PartsMade:  # noqa: ARG002
        """The sound of all lines, and the lines with how long each is."""
        assert opened.material.own is not None  # noqa: S101 - not known
        lines, speech, checks = opened.material.own.spoken.finish()
        path = opened.folder / "lines.json"
        path.write_bytes(lines.to_json())
        return PartsMade({"speech": speech, "lines": path}, checks, opened.seconds)
