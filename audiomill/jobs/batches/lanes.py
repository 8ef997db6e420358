"""Lanes: which work items may share a batch, and how long an input probably is before anyone has read it.

What that takes of an engine is in audiomill/jobs/speeds.py.
"""

from pathlib import PurePosixPath
from typing import Final

SHORT: Final = "short"

LONG: Final = "long"
"""The length class that does not get the last of several slots (forming.py)."""

# Bytes of one second of sound by kind of file, for estimates only: CD-quality PCM, FLAC at about 60 % of it,
# and 128 kbit/s for what is compressed.
_BYTES_PER_SECOND: Final = {".wav": 176_400, ".flac": 105_000}
_COMPRESSED: Final = 16_000
# espeak-ng's default of 175 words a minute at English's 5.7 characters a word with its space.
_CHARACTERS_PER_SECOND: Final = 16.6

# Of the engine's time: a minute and a quarter of an hour of sound, where the engine was never measured.
SHORT_SECONDS: Final = 20
LONG_SECONDS: Final = 300


def estimated_seconds(*, filename: str, size_bytes: int, characters: int | None, kind: str) -> float:
    """A guess of how long the sound is, in or out, from what is known without reading it."""
    if kind == "text":
        return (characters if characters is not None else size_bytes) / _CHARACTERS_PER_SECOND
    return size_bytes / _BYTES_PER_SECOND.get(PurePosixPath(filename).suffix.lower(), _COMPRESSED)


def length_class(expected_seconds: float) -> str:
    """`short`, `medium` or `long`, by what it will take of its engine: a minute's clip waits in no batch of hours."""
    if expected_seconds < SHORT_SECONDS:
        return SHORT
    return "medium" if expected_seconds < LONG_SECONDS else LONG


def lane_of(*, stage: str, engine: str, model: str | None, resource_class: str, tier: int, length: str) -> str:
    """The lane's name. A run loads one model, so the model is part of it."""
    return "|".join((stage, engine, model or "-", resource_class, str(tier), length))
