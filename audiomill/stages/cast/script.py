"""From what was heard, or from subtitles, to the lines of a dub. Who speaks them is `speakers`'."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiomill.errors import BadInput
from audiomill.lines.document import LONGEST_TEXT, Line, Lines, numbered
from audiomill.lines.languages import UNKNOWN, same
from audiomill.lines.subtitles import Imported, Note
from audiomill.transcripts import Segment, Transcript


@dataclass(frozen=True)
class Script:
    """The lines, and what to know of what they were made from."""

    lines: Lines
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Given:
    """What lines can be made from. source, target: subtitles in the source's language and in the dub's."""

    heard: Transcript | None = None
    source: Imported | None = None
    target: Imported | None = None


def script(given: Given, *, source_language: str | None, target_language: str, duration_ms: int) -> Script:
    """The lines of a dub. Subtitles in its language say the times and what is spoken; else those of the source do, or
    what was heard.

    source_language: None: as it was heard. Raises BadInput (`same_language`, `nothing_to_dub`).
    """
    language = source_language or (given.heard.language if given.heard is not None else UNKNOWN)
    if given.target is None and same(language, target_language):
        raise BadInput(
            f"The recording is in {language!r} already, the language that it should be dubbed to. Order another "
            "target_language, or name its language (source_language) if it was mistaken.",
            code="same_language",
        )
    notes = tuple(note for one in (given.source, given.target) if one is not None for note in one.notes)
    said = _said(given)
    if given.target is None:
        lines = given.source.lines if given.source is not None else numbered(said)
    else:
        lines = _told_of(
            tuple(line.model_copy(update={"translation": line.text, "text": ""}) for line in given.target.lines), said
        )
    if not lines:
        raise BadInput("Nobody speaks in the recording, so there is nothing to dub.", code="nothing_to_dub")
    document = Lines(source_language=language, target_language=target_language, duration_ms=duration_ms, lines=lines)
    return Script(document, notes)


def _said(given: Given) -> list[Segment]:
    """What is said in the source, piece by piece: words where their times are known."""
    if given.source is not None:
        return [Segment(line.text, line.start_ms / 1000, line.end_ms / 1000) for line in given.source.lines]
    segments = given.heard.segments if given.heard is not None else ()
    spoken = [segment for segment in segments if any(char.isalnum() for char in segment.text)]
    if given.target is None:
        return spoken
    return [
        piece
        for segment in spoken
        for piece in (
            [Segment(word.text.strip(), word.start_seconds, word.end_seconds) for word in segment.words] or [segment]
        )
    ]


def _told_of(lines: tuple[Line, ...], said: Sequence[Segment]) -> tuple[Line, ...]:
    """The lines with what is said in the source meanwhile: each piece goes to the line that its middle lies in, or is
    next to; of several, to the one that begins last. Lines may overlap, and a long piece may begin before a short one
    and have its middle behind it: no walk through both in order finds the nearest.
    """
    texts: list[list[str]] = [[] for _ in lines]
    starts_ms = np.array([line.start_ms for line in lines], float)
    ends_ms = np.array([line.end_ms for line in lines], float)
    for piece in sorted(said, key=lambda one: one.start_seconds):
        middle = 500 * (piece.start_seconds + piece.end_seconds)
        away = np.maximum(np.maximum(starts_ms - middle, middle - ends_ms), 0.0)
        texts[int(np.flatnonzero(away == away.min())[-1])].append(piece.text)
    return tuple(
        line.model_copy(update={"text": " ".join(found)[:LONGEST_TEXT]})
        for line, found in zip(lines, texts, strict=True)
    )
