"""Manifests: `<file>.job.json` beside a file of the inbox says with which parameters and further inputs it is ordered.

    {"parameters": {"target_language": "es"}, "inputs": {"subtitles": "film.es.srt"}}

Both may be left out. Inputs are by role, a name or a list of names, relative to the manifest's folder. The file itself
is the recipe's first input, unless `inputs` names another for that role. Here is what a manifest may say, and what is
said of one that may not be; which objects it concerns is bundles.py's, when it is ordered by_manifest.py's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiomill.errors import BadRequest
from audiomill.jobs.inputs import display_name

SUFFIX = ".job.json"
MOST_BYTES = 64 * 1024
"""As the API takes of parameters."""

MOST_KEY_BYTES = 1500
"""More than any store's keys have, and as much as an index takes."""

MOST_INPUTS = 100
"""Each is looked for while its manifest waits. More than any recipe takes."""

Name = Annotated[str, Field(min_length=1, max_length=1024)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    parameters: dict[str, Any] = {}
    inputs: dict[Annotated[str, Field(max_length=40)], Name | list[Name]] = Field(default={}, max_length=MOST_INPUTS)


@dataclass(frozen=True)
class Manifest:
    """What one says: parameters, and further inputs, each by its role and the key of its object."""

    parameters: dict[str, Any]
    inputs: tuple[tuple[str, str], ...]


def is_manifest(key: str) -> bool:
    """Whether an object of the inbox is one, by its name."""
    return key.endswith(SUFFIX)


def manifest_of(key: str) -> str:
    """Where the manifest of a file would lie."""
    return key + SUFFIX


def file_of(key: str) -> str:
    """The file that a manifest lies beside."""
    return key.removesuffix(SUFFIX)


def read_manifest(key: str, data: bytes) -> Manifest:
    """What the manifest of that key says. Raises BadRequest (`bad_manifest`) that says what is wrong with what."""
    if len(data) > MOST_BYTES:
        raise _bad(f"It has more than {MOST_BYTES:,} bytes")
    try:
        said = _Said.model_validate(json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no))
    except ValidationError as error:
        raise _bad(_shown(error)) from None
    except UnicodeDecodeError:
        raise _bad("It is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _bad(f"It is not JSON from line {error.lineno}, column {error.colno} on") from None
    except (ValueError, RecursionError) as error:
        shown = str(error) if isinstance(error, _Twice) else "It has numbers or depths that JSON does not have"
        raise _bad(shown) from None
    return Manifest(said.parameters, tuple(_keys(key, said)))


class _Twice(ValueError):
    """A name that stands twice in one object: one of its values would be lost without a word."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise _Twice(f"{name[:80]!r} stands in it twice")
        made[name] = value
    return made


def _no(constant: str) -> float:
    raise ValueError(constant)


def _keys(key: str, said: _Said) -> Iterator[tuple[str, str]]:
    folder, known = key.rpartition("/")[0], {key}
    if sum(1 if isinstance(names, str) else len(names) for names in said.inputs.values()) > MOST_INPUTS:
        raise _bad(f"It names more than {MOST_INPUTS} inputs")
    for role, names in said.inputs.items():
        for name in [names] if isinstance(names, str) else names:
            if any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
                raise _bad(f"{display_name(name)!r} is no name of a file in its folder or below")
            named = f"{folder}/{name}"
            if len(named.encode()) > MOST_KEY_BYTES:
                raise _bad(f"{display_name(name)!r} is too long a name")
            if named in known or is_manifest(named):
                raise _bad(f"{display_name(name)!r} is named twice, or is a manifest")
            known.add(named)
            yield role, named


def _shown(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden":
        return f"It has {place[:80]!r}, which a manifest has not"
    if not place:
        return "It is no JSON object"
    form = "an object of names and values" if place == "parameters" else "a file's name, or a list of them, by role"
    return f"{place[:80]!r} is not right: it must be {form}"


def _bad(why: str) -> BadRequest:
    return BadRequest(
        f"The manifest cannot be used. {why}. "
        'It is of this form: {"parameters": {"target_language": "es"}, "inputs": {"subtitles": "film.es.srt"}}.',
        code="bad_manifest",
    )
