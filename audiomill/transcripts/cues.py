"""Subtitle cues: which words stand together on the screen, and when. Pure layout; file syntax is in `formats.py`.

Limits of the Netflix English Timed Text Style Guide: 2 lines of 42 characters, 5/6 s to 7 s, 2 frames between cues.
A segment without word times is laid out as if each character took the same time within it: an estimate, used for
nothing but where a long segment is cut.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from audiomill.transcripts.plain import columns, pieces, plain
from audiomill.transcripts.transcript import Segment, Transcript

LINE_COLUMNS = 42
MAX_MS = 7000
MIN_MS = 833
GAP_MS = 84  # 2 frames at 24 frames a second
PAUSE_MS = 1500
"""A silence inside a segment that ends a cue."""
FLOOR_MS = 100
"""What a cue keeps where the next one leaves it less than MIN_MS."""
_SENTENCE_ENDS = tuple(".!?…。！？؟।")


@dataclass(frozen=True)
class Cue:
    """What is on the screen from `start_ms` to `end_ms`: one or two lines, none empty."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Token:
    text: str
    start_ms: int
    end_ms: int
    spaced: bool  # a space before it
    columns: int


def cues(transcript: Transcript) -> list[Cue]:
    """Cues in order of time: each longer than nothing, none overlapping, GAP_MS between them."""
    found = [cue for segment in transcript.segments for cue in _segment_cues(segment)]
    found.sort(key=lambda cue: cue.start_ms)
    return _apart(found, milliseconds(transcript.duration_seconds))


def milliseconds(seconds: float) -> int:
    """Rounded; 0 for what is negative or not finite."""
    return max(0, round(seconds * 1000)) if math.isfinite(seconds) else 0


def _apart(found: list[Cue], duration_ms: int) -> list[Cue]:
    # First the starts, each far enough after the one before; then the ends, which fit in between.
    for at in range(1, len(found)):
        earliest = found[at - 1].start_ms + FLOOR_MS + GAP_MS
        found[at] = replace(found[at], start_ms=max(found[at].start_ms, earliest))
    placed = []
    for at, cue in enumerate(found):
        latest = found[at + 1].start_ms - GAP_MS if at + 1 < len(found) else max(duration_ms, cue.start_ms + FLOOR_MS)
        end = min(max(cue.end_ms, cue.start_ms + MIN_MS), cue.start_ms + MAX_MS, latest)
        placed.append(replace(cue, end_ms=end))
    return placed


def _segment_cues(segment: Segment) -> Iterator[Cue]:
    current: list[_Token] = []
    for token in _tokens(segment):
        if current and _breaks(current, token):
            yield _cue(current)
            current = []
        current.append(token)
    if current:
        yield _cue(current)


def _breaks(current: list[_Token], token: _Token) -> bool:
    if token.start_ms - current[-1].end_ms > PAUSE_MS or token.end_ms - current[0].start_ms > MAX_MS:
        return True
    if _second_line_at([*current, token]) is None:
        return True
    return token.spaced and current[-1].text.endswith(_SENTENCE_ENDS) and _second_line_at(current) != 0


def _cue(tokens: list[_Token]) -> Cue:
    at = _second_line_at(tokens)
    lines = (_joined(tokens[:at]), _joined(tokens[at:])) if at else (_joined(tokens),)
    return Cue(tokens[0].start_ms, tokens[-1].end_ms, lines)


def _second_line_at(tokens: list[_Token]) -> int | None:
    """Where the second line begins, so that the two differ least in width; 0: one line is enough; None: nor are two."""
    spaces = tokens[0].spaced  # the one before the first token of a line is not shown
    whole = sum(token.columns + token.spaced for token in tokens) - spaces
    if whole <= LINE_COLUMNS:
        return 0
    best, least, upper = None, LINE_COLUMNS, -spaces
    for at in range(1, len(tokens)):
        upper += tokens[at - 1].columns + tokens[at - 1].spaced
        lower = whole - upper - tokens[at].spaced
        if max(upper, lower) <= LINE_COLUMNS and abs(upper - lower) < least:
            best, least = at, abs(upper - lower)
    return best


def _joined(tokens: list[_Token]) -> str:
    return "".join(" " * (token.spaced and at > 0) + token.text for at, token in enumerate(tokens))


def _tokens(segment: Segment) -> Iterator[_Token]:
    """Words with times, in order, none wider than a line."""
    text, start, end = plain(segment.text), milliseconds(segment.start_seconds), milliseconds(segment.end_seconds)
    timed = [
        (word, milliseconds(each.start_seconds), milliseconds(each.end_seconds))
        for each in segment.words
        if (word := plain(each.text))
    ] or list(_spread(text, start, max(start, end)))
    shown = _as_in(text, [word for word, _, _ in timed])
    earliest = 0
    for (word, spaced), (_, word_start, word_end) in zip(shown, timed, strict=True):
        earliest = max(word_start, earliest)  # engines let words overlap
        yield from _cut(word, earliest, max(earliest, word_end), spaced=spaced)


def _as_in(text: str, words: list[str]) -> list[tuple[str, bool]]:
    """The words as the text has them: with the punctuation around them, and with a space before, or none (Thai).

    Where words and text differ (numbers spelled out, say), the words count, each with a space.
    """
    shown: list[tuple[str, bool]] = []
    at = 0
    for word in words:
        place = text.find(word, at)
        between = text[at:place] if place >= 0 else "?"
        if place < 0 or any(char.isalnum() for char in between):
            return [(each, True) for each in words]
        before, space, after = between.rpartition(" ")
        if shown:
            shown[-1] = (shown[-1][0] + before.rstrip(), shown[-1][1])
        else:
            after = before + space + after
        shown.append((after + word, bool(space)))
        at = place + len(word)
    rest = text[at:]
    if any(char.isalnum() for char in rest):
        return [(each, True) for each in words]
    if shown:
        shown[-1] = (shown[-1][0] + rest.rstrip(), shown[-1][1])
    return shown


def _spread(text: str, start_ms: int, end_ms: int) -> Iterator[tuple[str, int, int]]:
    total, done = max(1, len(text)), 0
    for word in text.split(" "):
        if word:
            begins = start_ms + (end_ms - start_ms) * done // total
            done += len(word) + 1
            yield word, begins, start_ms + (end_ms - start_ms) * min(done, total) // total


def _cut(word: str, start_ms: int, end_ms: int, *, spaced: bool) -> Iterator[_Token]:
    parts = pieces(word, LINE_COLUMNS)
    for number, part in enumerate(parts):
        begins = start_ms + (end_ms - start_ms) * number // len(parts)
        ends = start_ms + (end_ms - start_ms) * (number + 1) // len(parts)
        yield _Token(part, begins, ends, spaced and number == 0, columns(part))
