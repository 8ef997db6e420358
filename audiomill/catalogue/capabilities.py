"""The capabilities: what can be ordered. A job's capability says its parameters, its input and its chain of stages."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from audiomill.catalogue.parameters import Parameters, SynthesizeParameters, TranscribeParameters
from audiomill.errors import BadRequest


@dataclass(frozen=True)
class Capability:
    """One thing that can be ordered. `stages` are worked off in order; each is a work item of its own."""

    name: str
    summary: str
    input_kind: Literal["audio", "text"]
    parameters: type[Parameters]
    stages: tuple[str, ...]


CAPABILITIES: dict[str, Capability] = {
    capability.name: capability
    for capability in (
        Capability("transcribe", "Speech to text with word times", "audio", TranscribeParameters, ("transcribe",)),
        Capability("synthesize", "Text to speech", "text", SynthesizeParameters, ("synthesize",)),
    )
}


def capability(name: str) -> Capability:
    """The capability of that name. Raises BadRequest."""
    try:
        return CAPABILITIES[name]
    except KeyError:
        known = ", ".join(sorted(CAPABILITIES))
        raise BadRequest(f"There is no capability {name!r}. There are: {known}.", code="unknown_capability") from None


def _said(message: str) -> str:
    """Pydantic's words without those of its trade."""
    plain = message.removeprefix("Value error, ").replace(" after validation", "")
    return plain.replace("Tuple should", "the list should").replace("Input should", "it should")


def validated(capability_name: str, parameters: dict[str, Any]) -> Parameters:
    """The parameters of a capability, checked and completed with defaults. Raises BadRequest that names the field."""
    kind = capability(capability_name).parameters
    try:
        return kind.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise BadRequest(
            f"The parameter {field!r} of {capability_name} is not right: {_said(first['msg'])}.",
            code="bad_parameter",
        ) from error
