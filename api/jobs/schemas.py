"""Bodies of the job endpoints."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from audiomill.jobs.revising import RevisionState
from audiomill.jobs.states import ItemState, JobState
from audiomill.settings import MOST_JOBS_PER_SUBMISSION

_JOB = "job_01k9zj4w8n2x0q5v7r3t6y1b4d"
_SUBMISSION = "sub_01k9zj4w8n2x0q5v7r3t6y1b4c"
_PARAMETERS_BYTES = 64 * 1024
_SUMMARY: dict[str, Any] = {
    "id": _JOB,
    "submission_id": _SUBMISSION,
    "recipe": "subtitles",
    "capability": "transcribe",
    "parameters": {"engine": "faster-whisper", "model": "small", "language": "en", "formats": ["srt", "vtt"]},
    "engine": "faster-whisper",
    "model": "small",
    "state": "complete",
    "stage": "transcribe",
    "progress": 1.0,
    "filename": "interview.wav",
    "size_bytes": 1_048_576,
    "duration_seconds": 32.7,
    "failure_code": None,
    "failure_reason": None,
    "created_at": "2026-11-21T10:00:00Z",
    "started_at": "2026-11-21T10:00:04Z",
    "finished_at": "2026-11-21T10:00:19Z",
    "batch_id": "20261121T100004-5a52b0c7a5d0",
    "run_id": "5b0f6a1e-9d0c-4f4e-8a57-2f1c6d0e9b3a",
    "attempts": 1,
    "revision": 1,
    "warnings": [
        {
            "code": "cut_off",
            "sentence": "The recording says that it is 60.0 seconds long, but ends after 32.7 seconds; it was probably "
            "cut off. What is there was used.",
        }
    ],
}


Role = Annotated[
    str | None,
    Field(
        max_length=40,
        pattern=r"^[a-z][a-z0-9_-]*$",
        description="what it is to the job, of those that the recipe takes: `source`, `subtitles`. As soon as one "
        "input has a role, all inputs of the order make one job together",
    ),
]


class UploadInput(BaseModel):
    """A recording (or a text file) that was uploaded."""

    model_config = ConfigDict(extra="forbid")

    upload_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9_]+$")]
    role: Role = None


class TextInput(BaseModel):
    """A text given inline."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="plain text; how long it may be is a limit of the installation (413 names it)")
    name: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        "text.txt", description="what the job is listed under"
    )
    role: Role = None


def _kind_of_input(value: object) -> str | None:
    if isinstance(value, UploadInput | TextInput):
        return type(value).__name__
    if not isinstance(value, dict):
        return None
    return "UploadInput" if "upload_id" in value else "TextInput"


Input = Annotated[
    Annotated[UploadInput, Tag("UploadInput")] | Annotated[TextInput, Tag("TextInput")], Discriminator(_kind_of_input)
]


class Order(BaseModel):
    """One recipe applied to each of the inputs: a job each; where inputs have roles, one job of all of them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "recipe": "subtitles",
                    "parameters": {"language": "en"},
                    "inputs": [{"upload_id": "upl_01k9zj4w8n2x0q5v7r3t6y1b4d"}],
                },
                {"recipe": "synthesize", "inputs": [{"text": "Good morning.", "name": "greeting"}]},
                {
                    "recipe": "dub",
                    "parameters": {"target_language": "es"},
                    "inputs": [
                        {"upload_id": "upl_01k9zj4w8n2x0q5v7r3t6y1b4d", "role": "source"},
                        {"text": "1\n00:00:01,000 --> 00:00:02,000\nHola.", "name": "es.srt", "role": "subtitles"},
                    ],
                },
            ]
        },
    )

    recipe: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="beyond what the recipe sets; their schema is in GET /v1/recipes"
    )
    inputs: Annotated[list[Input], Field(min_length=1, max_length=MOST_JOBS_PER_SUBMISSION)]

    @property
    def is_one_job(self) -> bool:
        """Whether all inputs make one job: some have a role."""
        return any(given.role is not None for given in self.inputs)

    @field_validator("parameters")
    @classmethod
    def _storable(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(parameters, allow_nan=False)  # how deep they are was bounded before: api/json_body.py
        if len(text) > _PARAMETERS_BYTES:
            raise ValueError(f"larger than {_PARAMETERS_BYTES:,} bytes as JSON")
        if "\\u0000" in text:
            raise ValueError("contains a NUL character")
        return parameters


class JobReference(BaseModel):
    """A job that was ordered, in the place of its input."""

    id: str
    url: str = Field(description="GET /v1/jobs/{id}")
    events_url: str = Field(description="GET /v1/jobs/{id}/events")


class Submission(BaseModel):
    """What an order came to: the same each time that it is repeated with its Idempotency-Key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "submission_id": _SUBMISSION,
                    "jobs": [{"id": _JOB, "url": f"/v1/jobs/{_JOB}", "events_url": f"/v1/jobs/{_JOB}/events"}],
                }
            ]
        }
    )

    submission_id: str
    jobs: list[JobReference] = Field(description="in the order of the inputs")


class JobWarning(BaseModel):
    """Something to know of a result that was delivered all the same. The receipts name the same codes."""

    code: str = Field(description="stable: `low_confidence`, `cut_off`, `clipping` and others")
    sentence: str


class JobSummary(BaseModel):
    """A job in a list."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_SUMMARY]})

    id: str
    submission_id: str
    recipe: str
    capability: str
    parameters: dict[str, Any] = Field(
        description="as ordered, completed with defaults; what `auto` came to is `engine`, of several steps in `steps`"
    )
    engine: str = Field(description="of the step that moved last; `audiomill`: that step needs none")
    model: str | None = None
    state: JobState
    stage: str
    progress: float = Field(description="share of all steps that is done, weighed, 0 to 1")
    filename: str
    size_bytes: int
    duration_seconds: float | None = Field(None, description="of the recording, once it was read")
    failure_code: str | None = None
    failure_reason: str | None = Field(None, description="what was wrong and what to do, in a sentence")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    batch_id: str | None = Field(None, description="the batch that its stage is worked off in")
    run_id: str | None = Field(None, description="Dagster's run of that batch")
    attempts: int
    revision: int = Field(description="the current one: its outputs are served; edits of lines make the next")
    warnings: list[JobWarning] = Field(
        description="what to know of its outputs before they are used; empty when all is well"
    )


class JobStep(BaseModel):
    """One step of a job's plan."""

    name: str
    stage: str = Field(description="the kind of work; several steps may be of one stage")
    state: ItemState
    progress: float = Field(description="share of the step that is done, 0 to 1")
    optional: bool = Field(description="when it fails, the job goes on without it, with a warning")
    engine: str = Field(description="`audiomill`: the step needs none")
    model: str | None = None
    attempts: int
    batch_id: str | None = None
    run_id: str | None = None
    failure_code: str | None = None
    failure_reason: str | None = None


class JobRevision(BaseModel):
    """One way through a job's plan: 1 is the order, each later one an edit."""

    revision: int
    state: RevisionState = Field(description="`open`: it is being made")
    base: int | None = Field(None, description="the revision that was edited; null of the order")
    edited_lines: int
    progress: float = Field(description="share of what it makes anew that is done, 0 to 1")
    failure_code: str | None = None
    failure_reason: str | None = Field(None, description="what was wrong and what to do, in a sentence")
    created_at: datetime
    finished_at: datetime | None = None


class Output(BaseModel):
    """A file to fetch."""

    name: str
    version: int = Field(description="the revision that made it: an earlier one, where an edit did not touch it")
    media_type: str
    size_bytes: int
    sha256: str
    url: str = Field(description="GET /v1/jobs/{id}/outputs/{name}, which redirects to a signed URL")


class Job(JobSummary):
    """A job with its steps and its outputs."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    **_SUMMARY,
                    "steps": [
                        {
                            "name": "transcribe",
                            "stage": "transcribe",
                            "state": "complete",
                            "progress": 1.0,
                            "optional": False,
                            "engine": "faster-whisper",
                            "model": "small",
                            "attempts": 1,
                            "batch_id": "20261121T100004-5a52b0c7a5d0",
                            "run_id": "5b0f6a1e-9d0c-4f4e-8a57-2f1c6d0e9b3a",
                            "failure_code": None,
                            "failure_reason": None,
                        }
                    ],
                    "revisions": [
                        {
                            "revision": 1,
                            "state": "complete",
                            "base": None,
                            "edited_lines": 0,
                            "progress": 1.0,
                            "failure_code": None,
                            "failure_reason": None,
                            "created_at": "2026-11-21T10:00:00Z",
                            "finished_at": "2026-11-21T10:00:19Z",
                        }
                    ],
                    "outputs": [
                        {
                            "name": "transcript.srt",
                            "version": 1,
                            "media_type": "application/x-subrip; charset=utf-8",
                            "size_bytes": 2048,
                            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                            "url": f"/v1/jobs/{_JOB}/outputs/transcript.srt",
                        }
                    ],
                }
            ]
        },
    )

    steps: list[JobStep] = Field(description="in the order of the plan; several may be at work at a time")
    outputs: list[Output] = Field(description="of the current revision; empty until the job is complete")
    revisions: list[JobRevision] = Field(description="by number; those of edits may be open while the job is complete")


class JobList(BaseModel):
    """A page of jobs, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"jobs": [_SUMMARY], "next": None}]})

    jobs: list[JobSummary]
    next: str | None = Field(None, description="`after` of the next page, null at the end; also in the header `Link`")


class JobEvent(BaseModel):
    """The data of one server-sent event. Its `id` is `seq`, its `event` is the state."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "job_id": _JOB,
                    "seq": 3,
                    "state": "running",
                    "stage": "transcribe",
                    "progress": 0.42,
                    "reason": None,
                    "at": "2026-11-21T10:00:09Z",
                }
            ]
        },
    )

    job_id: str
    seq: int = Field(description="counts from 1 without gaps")
    state: JobState
    stage: str
    progress: float = Field(description="share of all steps that is done, weighed, 0 to 1")
    reason: str | None = Field(None, description="why it failed, in a sentence")
    at: datetime


Limit = Annotated[int, Field(ge=1, le=200, description="jobs per page")]
Filter = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
