"""Texts in pieces that an engine speaks in one go. What a piece sounds like is the engine's part."""

import re
from collections.abc import Iterator

_SENTENCE_END = re.compile(r"[.!?…。！？।؟][\"'”’)\]]*\s+|\n\s*\n\s*|[。！？]")


def chunks(text: str, longest: int) -> Iterator[tuple[int, str]]:
    """Pieces of at most `longest` characters with their places: cut after sentences, else between words, else hard."""
    start = 0
    while len(text) - start > longest:
        window = text[start : start + longest]
        ends = [match.end() for match in _SENTENCE_END.finditer(window)]
        end = ends[-1] if ends else window.rfind(" ") + 1 or longest
        yield start, text[start : start + end]
        start += end
    yield start, text[start:]
