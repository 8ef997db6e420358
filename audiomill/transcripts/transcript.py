"""The Transcript value, the same for every engine. Rendering to files is in `formats.py`."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word. Times in seconds from the start of the recording; confidence 0 to 1, None where not given."""

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """A phrase or sentence. `words` is empty when the order asked for no word times."""

    text: str
    start_seconds: float
    end_seconds: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """All that was said in one recording. `language` is a BCP 47 tag; its probability is None if it was given.

    `confidence`: mean of its words', also where the order asked for no words; None where the engine gives none.
    """

    segments: tuple[Segment, ...]
    language: str
    language_probability: float | None
    duration_seconds: float
    confidence: float | None = None

    @property
    def text(self) -> str:
        """The whole text, segments joined by a space."""
        return " ".join(segment.text.strip() for segment in self.segments if segment.text.strip())


def mean_confidence(words: Iterable[Word]) -> float | None:
    """Of those that have one; None where none has."""
    given = [word.confidence for word in words if word.confidence is not None]
    return statistics.fmean(given) if given else None
