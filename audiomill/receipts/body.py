"""What a receipt says. Fields only; signing and verifying are its neighbours."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

Schema = Literal["audiomill.receipt/1", "audiomill.receipt/2"]
SCHEMA: Schema = "audiomill.receipt/2"
"""What is written. The first form named one step only, that which made the output; such receipts still verify."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Integers stay below 2^53: canonical JSON (RFC 8785) knows only IEEE double precision."""


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


UtcTime = Annotated[AwareDatetime, PlainSerializer(_utc, return_type=str)]
"""Written as `2026-11-21T03:00:00.000Z`, always UTC, always milliseconds."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())


class OutputPart(_Part):
    """The file that the receipt lies beside."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    sha256: Sha256
    size_bytes: Count
    media_type: str


class InputPart(_Part):
    """What it was made from. `seconds` of a recording, `characters` of a text."""

    sha256: Sha256
    size_bytes: Count
    kind: Literal["audio", "text"]
    seconds: Seconds | None = None
    characters: Count | None = None


class EnginePart(_Part):
    """What made it. `model_sha256`: of its weights, or of the data that it carries in their place."""

    name: str
    version: str
    model: str | None = None
    model_sha256: Sha256 | None = None


class CheckPart(_Part):
    """One quality check: what was measured, and the limit that it was held against."""

    name: str
    passed: bool
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    limit: Annotated[float, Field(allow_inf_nan=False)] | None = None


class ReadPart(_Part):
    """A file that a step read: `input:<role>`, or `<step>/<part>`. `sha256`: where it was known."""

    name: str
    sha256: Sha256 | None = None


class StepPart(_Part):
    """One step on the way to the output. `artifact_sha256`: of its result; of one with several files of the first."""

    name: str
    stage: str
    engine: EnginePart
    options: dict[str, Any]
    seed: Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)] | None = None
    reads: tuple[ReadPart, ...] = ()
    artifact_sha256: Sha256
    processing_seconds: Seconds
    checks: tuple[CheckPart, ...] = ()


class ReceiptBody(_Part):
    """How one output was made. Times make it differ from run to run; the output itself need not."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
        serialize_by_alias=True,
        protected_namespaces=(),
        ser_json_inf_nan="constants",  # pydantic would write NaN in `parameters` as null, unsaid; so signing refuses it
    )

    schema_: Schema = Field(SCHEMA, alias="schema")
    job_id: str
    revision: Annotated[int, Field(ge=1, le=2**53 - 1)] = 1
    """Of the job: 1 is the order, later ones are of its customer's edits."""
    output: OutputPart
    input: InputPart
    stage: str
    engine: EnginePart
    parameters: dict[str, Any]
    seed: Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)] | None = None
    code_version: str
    audio_seconds: Seconds | None = None
    processing_seconds: Seconds
    """Its share of the time that the engine was at work: jobs and calls side by side share it. 0: recalled."""
    made_at: UtcTime
    checks: tuple[CheckPart, ...] = ()
    steps: tuple[StepPart, ...] = ()
    """All that the output was made by, in the order of the plan, the one that made it last."""
    left_out: tuple[str, ...] = ()
    """Steps that the output would have been made by, too, and that failed: it was made without them."""
