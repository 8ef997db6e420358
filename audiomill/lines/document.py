"""`lines.json`: the lines of a dub, as customers read and edit them. What the times come to is `fitting`'s.

All times are whole milliseconds from the start of the source. The same lines give the same bytes.
"""

import json
import statistics
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from audiomill.errors import BadInput
from audiomill.lines.fitting import FASTEST, SLOWEST, Fitted, Window, fitted
from audiomill.transcripts import Segment, Transcript

MOST_LINES = 100_000
LONGEST_TEXT = 5_000
"""Characters of one line: some six minutes of speech."""

Milliseconds = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Line(_Frozen):
    """One line. What is None is not known yet: it comes with the step that finds it out."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field(description="stays the same through edits")
    speaker: Annotated[str, Field(max_length=64)] | None = Field(None, description="who speaks in the source")
    speaker_hz: Annotated[float, Field(gt=0, le=2000, allow_inf_nan=False)] | None = Field(
        None, description="the speaker's median pitch in the source: what the voice is chosen by"
    )
    start_ms: Milliseconds = Field(description="where it should begin: where the speaker begins in the source")
    end_ms: Milliseconds = Field(description="where it should have ended")
    text: Annotated[str, Field(max_length=LONGEST_TEXT)] = Field(description="what is said in the source")
    translation: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = Field(None, description="what is spoken")
    voice: Annotated[str, Field(max_length=100)] | None = Field(None, description="the engine's voice that speaks it")
    voice_pitch: Annotated[int, Field(ge=0, le=99)] | None = Field(
        None, description="of that voice: 0 low, 50 as the voice is, 99 high"
    )
    spoken_ms: Milliseconds | None = Field(None, description="how long the voice takes at its own pace")
    rate: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] | None = Field(
        None, description="how much faster than that it is heard, without a change of pitch"
    )
    actual_start_ms: Milliseconds | None = Field(None, description="where it begins in the dub")
    actual_end_ms: Milliseconds | None = Field(None, description="where it ends in the dub")
    drift_ms: Milliseconds | None = Field(
        None, description="how far it lies outside start_ms and end_ms, at the end where that is most"
    )
    fit: Literal["own", "after", "before", "late"] | None = Field(
        None,
        description="`own`: in its own time; `after`, `before`: with silence after or also before it; `late`: neither "
        "was enough, and what follows may be pushed",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end_ms < self.start_ms:
            raise ValueError(f"ends at {self.end_ms} ms, before it starts at {self.start_ms} ms")
        return self


class Lines(_Frozen):
    """All lines of a dub, in the order of their starts."""

    version: Literal[1] = 1
    source_language: Annotated[str, Field(max_length=35)] = Field(description="BCP 47")
    target_language: Annotated[str, Field(max_length=35)] = Field(description="BCP 47")
    duration_ms: Milliseconds = Field(description="length of the source")
    lines: tuple[Line, ...] = Field((), max_length=MOST_LINES)

    @model_validator(mode="after")
    def _ordered_once(self) -> Self:
        if len({line.id for line in self.lines}) != len(self.lines):
            raise ValueError("two lines have the same id")
        starts = [line.start_ms for line in self.lines]
        if starts != sorted(starts):
            raise ValueError("lines must be in the order of their starts")
        return self

    def to_json(self) -> bytes:
        """The file. Nulls stay: every line has every field."""
        return (json.dumps(self.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of `to_json`. Raises BadInput (`bad_lines`) with the place of the first thing wrong."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise BadInput(f"The lines cannot be used: {place}: {first['msg']}.", code="bad_lines") from None

    def fitted(self) -> Self:
        """The same lines with rate, actual times and drift. Raises ValueError when a line was not spoken yet."""
        windows = []
        for line in self.lines:
            if line.spoken_ms is None:
                raise ValueError(f"line {line.id} was not spoken yet")
            windows.append(Window(line.start_ms, line.end_ms, line.spoken_ms))
        placed = zip(self.lines, fitted(windows, duration_ms=self.duration_ms), strict=True)
        return self.model_copy(update={"lines": tuple(_placed(line, fit) for line, fit in placed)})

    def drift(self) -> tuple[int, int]:
        """Median (the upper of the middle two) and worst drift in ms of the lines that are placed; zeros for none."""
        drifts = [line.drift_ms for line in self.lines if line.drift_ms is not None]
        return (statistics.median_high(drifts), max(drifts)) if drifts else (0, 0)

    def transcript(self, which: Literal["source", "target"]) -> Transcript:
        """For `transcripts.formats.render`: the source at its own times, the target where it is heard in the dub."""
        segments: list[Segment] = []
        for line in self.lines:
            if which == "source":
                segments.append(Segment(line.text, line.start_ms / 1000, line.end_ms / 1000))
            elif line.translation is not None:
                start = line.start_ms if line.actual_start_ms is None else line.actual_start_ms
                end = line.end_ms if line.actual_end_ms is None else line.actual_end_ms
                segments.append(Segment(line.translation, start / 1000, max(start, end) / 1000))
        language = self.source_language if which == "source" else self.target_language
        last = max((segment.end_seconds for segment in segments), default=0.0)
        return Transcript(tuple(segments), language, None, max(last, self.duration_ms / 1000))


def schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return Lines.model_json_schema()


def numbered(segments: Sequence[Segment]) -> tuple[Line, ...]:
    """Lines of a transcript or of subtitles, with ids by their order (`L00001`)."""
    lines = []
    for number, segment in enumerate(sorted(segments, key=lambda one: one.start_seconds), start=1):
        start = max(0, round(segment.start_seconds * 1000))
        end = max(start, round(segment.end_seconds * 1000))
        lines.append(Line(id=f"L{number:05d}", start_ms=start, end_ms=end, text=segment.text.strip()))
    return tuple(lines)


def _placed(line: Line, fit: Fitted) -> Line:
    return line.model_copy(
        update={
            "rate": fit.rate, "actual_start_ms": fit.start_ms, "actual_end_ms": fit.end_ms, "drift_ms": fit.drift_ms,
            "fit": fit.how,
        }
    )  # fmt: skip
