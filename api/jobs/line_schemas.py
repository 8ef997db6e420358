"""Bodies of the endpoints of lines. What a line is, and what an edit of it may say, is audiomill/lines'."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from audiomill.lines.document import Lines
from audiomill.lines.editing import MOST_EDITS, LineEdit

_JOB = "job_01k9zj4w8n2x0q5v7r3t6y1b4d"
_LINE: dict[str, Any] = {
    "id": "L00001",
    "speaker": "S1",
    "speaker_hz": 118.4,
    "start_ms": 1200,
    "end_ms": 3400,
    "text": "The train leaves at nine.",
    "translation": "El tren sale a las nueve.",
    "voice": "roa/es+m3",
    "voice_pitch": 44,
    "spoken_ms": 1980,
    "rate": 1.0,
    "actual_start_ms": 1200,
    "actual_end_ms": 3180,
    "drift_ms": 0,
    "fit": "own",
}


class JobLines(Lines):
    """The lines of one revision of a job."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": _JOB,
                    "revision": 1,
                    "version": 1,
                    "source_language": "en",
                    "target_language": "es",
                    "duration_ms": 61_000,
                    "lines": [_LINE],
                }
            ]
        }
    )

    job_id: str
    revision: int


class LineEdits(BaseModel):
    """Edits of lines, each named by its id."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"lines": [{"id": "L00001", "translation": "El tren sale a las diez.", "end_ms": 3600}]}]
        },
    )

    lines: Annotated[list[LineEdit], Field(min_length=1, max_length=MOST_EDITS)]


class StepCost(BaseModel):
    """What is made anew of a step."""

    model_config = ConfigDict(from_attributes=True)

    step: str
    stage: str
    seconds: float = Field(description="of sound")


class EditOfLines(BaseModel):
    """What an edit came to, or would."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "job_id": _JOB,
                    "base": 1,
                    "revision": 2,
                    "changed": ["L00001"],
                    "seconds": 124.4,
                    "cost": [
                        {"step": "speak", "stage": "speak", "seconds": 2.4},
                        {"step": "mix", "stage": "mix", "seconds": 61.0},
                        {"step": "mux", "stage": "mux", "seconds": 61.0},
                    ],
                }
            ]
        },
    )

    job_id: str
    base: int = Field(description="the current revision, of which the edit is")
    revision: int | None = Field(description="the one that is being made; null: none, in a dry run or for no change")
    changed: tuple[str, ...] = Field(description="ids of the lines that are otherwise then")
    seconds: float = Field(description="of sound, that are made anew in all steps together")
    cost: tuple[StepCost, ...] = Field(description="by step, in the order of the plan, as far as it can be foretold")
