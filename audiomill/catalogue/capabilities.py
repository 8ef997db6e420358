"""The capabilities by name: what can be ordered, and the check of an order's parameters. Each is said in its file."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

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


def validated(capability_name: str, parameters: dict[str, Any]) -> Parameters:
    """The parameters of a capability, checked and completed with defaults. Raises BadRequest that names the field."""
    kind = capability(capability_name).parameters
    try:
        return kind.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"{_refusal(capability_name, kind, parameters, first)}.", code="bad_parameter") from error


_SHOULD_BE = {
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "names with their values",
    "model_type": "names with their values",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What pydantic says in words of its trade, in words of an order."""


def _refusal(capability_name: str, kind: type[BaseModel], given: dict[str, Any], first: ErrorDetails) -> str:
    """A sentence but for its end."""
    place = _place(first["loc"], given, missing=first["type"] == "missing")
    name = ".".join(filter(None, place))
    described = kind.model_fields[name].description if name in kind.model_fields else None
    if first["type"] == "missing":
        return f"{capability_name} needs the parameter {name!r}" + (f": {described}" if described else "")
    if first["type"] == "extra_forbidden":
        owner = kind if len(place) == 1 else kind.model_fields[place[0]].annotation
        known = owner.model_fields if isinstance(owner, type) and issubclass(owner, BaseModel) else {}
        return f"{capability_name} has no parameter {name!r}. It has: {', '.join(known)}"
    if not name:
        return f"These parameters do not go together in {capability_name}: {_said(first['msg'])}"
    said = f"it should be {_SHOULD_BE[first['type']]}" if first["type"] in _SHOULD_BE else _said(first["msg"])
    if first["type"] == "string_pattern_mismatch":
        said = "it is not written as it should be" + (f". It is: {described}" if described else "")
    return f"The parameter {name!r} of {capability_name} is not right: {said}"


def _place(place: Sequence[int | str], given: Any, *, missing: bool) -> list[str]:  # noqa: ANN401 - whatever JSON holds
    """As far as it leads into what was given: behind that are the names of types, or what is `missing`."""
    parts = []
    for part in place:
        if isinstance(given, dict) and (missing or part in given):
            given = given.get(str(part))
        elif isinstance(given, list | tuple) and isinstance(part, int) and part < len(given):
            given = given[part]
        else:
            break
        parts.append(str(part))
    return parts


def _said(message: str) -> str:
    """Pydantic's words without those of its trade."""
    plain = message.removeprefix("Value error, ").replace(" after validation", "")
    for word in ("Tuple", "Dictionary", "Input", "String", "List"):
        plain = plain.replace(f"{word} should", "it should")
    return plain
