"""What is ordered, before anything is asked: inputs, jobs, and whether an order of that form may be made at all. Pure.

What it comes to is in resolving.py, how it is written in submission.py.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import rfc8785

from audiomill.errors import BadRequest, LimitExceeded
from audiomill.formats import sizes_shown
from audiomill.settings import Settings

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
Source = Literal["inbox", "api", "operator", "schedule"]


@dataclass(frozen=True)
class InputObject:
    """An object of the store that is to be worked on. `characters` of a text, where known.

    kind: what it is, where that is known without reading it. least_spoken_seconds: what the speech of a text lasts at
    least, at the reference rate, where known.
    """

    key: str
    version: str
    size_bytes: int
    filename: str
    sha256: str | None = None
    characters: int | None = None
    kind: Literal["audio", "text"] | None = None
    least_spoken_seconds: float | None = None


@dataclass(frozen=True)
class NewJob:
    """One order: a recipe, parameters that differ from the recipe's, and what to apply it to.

    role: what the input is to the job; None: what the capability takes first. others: further inputs, each in a role.
    """

    recipe: str
    parameters: dict[str, Any]
    input: InputObject
    role: str | None = None
    others: tuple[tuple[str | None, InputObject], ...] = ()

    @property
    def inputs(self) -> tuple[tuple[str | None, InputObject], ...]:
        """All of them, each with its role."""
        return ((self.role, self.input), *self.others)


@dataclass(frozen=True)
class Submitted:
    """What came of it. `created` is False when the idempotency key had been used for the same order before."""

    submission_id: str
    job_ids: tuple[str, ...]
    created: bool


def refuse_malformed(idempotency_key: str, jobs: Sequence[NewJob], settings: Settings) -> None:
    """Raises BadRequest (no inputs, characters that cannot be stored), LimitExceeded (too many jobs)."""
    if not jobs:
        raise BadRequest("The order has no inputs. Name at least one.", code="no_inputs")
    if len(jobs) > settings.limits.max_jobs_per_submission:
        raise LimitExceeded(
            f"The order has {len(jobs)} inputs; one order may have {settings.limits.max_jobs_per_submission}. "
            "Split it into several.",
            code="too_many_jobs",
        )
    _refuse_unstorable(idempotency_key, jobs)


def _refuse_unstorable(idempotency_key: str, jobs: Sequence[NewJob]) -> None:
    """PostgreSQL's text has no NUL and no half characters. Raises BadRequest that says where there is one."""
    texts: list[tuple[str, Any]] = [("idempotency key", idempotency_key)]
    # Each once: the inputs of one order share their parameters, and these may be long.
    texts += [("parameters", each) for each in {id(new.parameters): new.parameters for new in jobs}.values()]
    for new in jobs:
        texts.append(("recipe's name", new.recipe))
        for role, given in new.inputs:
            texts += [("file name", given.filename), ("object's key", given.key), ("input's role", role)]
    for what, value in texts:
        if not _is_storable(value):
            raise BadRequest(
                f"There is a zero character or half of a character (a lone surrogate) in the {what}. Leave it out.",
                code="bad_characters",
            )


def _is_storable(value: object) -> bool:
    if isinstance(value, str):
        return _UNSTORABLE.search(value) is None
    if isinstance(value, dict):
        return all(_is_storable(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(_is_storable(each) for each in value)
    return True


def sha256_of_order(jobs: Sequence[NewJob]) -> str:
    """Of all that makes two orders the same. Raises BadRequest for parameters that JSON cannot say."""
    canonical = canonical_parameters(jobs)
    # The canonical JSON of `[[recipe, parameters, key, version], …]`, without writing the parameters anew for each.
    # Where there are any, the role of the input follows, and `[role, key, version]` of each further one.
    hashed = hashlib.sha256(b"[")
    for place, new in enumerate(jobs):
        said: list[Any] = [new.recipe, new.input.key, new.input.version]
        if new.role is not None or new.others:
            said += [new.role, *([role, given.key, given.version] for role, given in new.others)]
        named = [rfc8785.dumps(each) for each in said]
        hashed.update(b"," if place else b"")
        hashed.update(b"[" + b",".join([named[0], canonical[id(new.parameters)], *named[1:]]) + b"]")
    hashed.update(b"]")
    return hashed.hexdigest()


def canonical_parameters(jobs: Sequence[NewJob]) -> dict[int, bytes]:
    """The canonical JSON of each parameters object, by its `id`: written once, however many inputs share it.

    Raises BadRequest for what JSON cannot say.
    """
    try:
        return {
            name: rfc8785.dumps(parameters)
            for name, parameters in {id(new.parameters): new.parameters for new in jobs}.items()
        }
    except rfc8785.CanonicalizationError as error:
        raise BadRequest(f"The parameters cannot be read: {error}.", code="bad_parameter") from error


def recording_too_large(filename: str, size_bytes: int, settings: Settings) -> LimitExceeded:
    """The error for a recording above the limit of this installation."""
    size, allowed = sizes_shown(size_bytes, settings.limits.max_bytes)
    return LimitExceeded(
        f"{filename!r} is {size}; a recording may have {allowed}. Split it, or compress it.",
        code="recording_too_large",
    )
