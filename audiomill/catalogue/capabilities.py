"""The capabilities by name: what can be ordered, and the check of an order's parameters. Each is said in its file."""

from typing import Any

from pydantic import ValidationError

from audiomill.catalogue.capability import Capability
from audiomill.catalogue.dub import DUB
from audiomill.catalogue.parameters import Parameters
from audiomill.catalogue.synthesize import SYNTHESIZE
from audiomill.catalogue.transcribe import TRANSCRIBE
from audiomill.errors import BadRequest

CAPABILITIES: dict[str, Capability] = {capability.name: capability for capability in (TRANSCRIBE, SYNTHESIZE, DUB)}


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
        if first["type"] == "missing":
            raise BadRequest(f"{capability_name} needs the parameter {field!r}.", code="bad_parameter") from error
        raise BadRequest(
            f"The parameter {field!r} of {capability_name} is not right: {_said(first['msg'])}.",
            code="bad_parameter",
        ) from error
