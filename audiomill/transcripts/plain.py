"""Text fit to be written to a file of any format: one line, no control characters, valid UTF-8. No layout."""

import re
import unicodedata

_BLANKS = re.compile(r"\s+")
_NO_BREAK = frozenset("\u00a0\u202f")  # French sets them before `?`: one alone stays


def plain(text: str) -> str:
    """One line: blanks and line breaks become one space, control characters and byte order marks go.

    A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD. Marks of writing direction and joiners stay: they are
    part of the text in Arabic, Hebrew, Indic scripts and emoji.
    """
    if not text.isprintable():
        text = "".join(_kept(char) for char in text)
    return _BLANKS.sub(lambda run: run[0] if run[0] in _NO_BREAK else " ", text).strip()


def _kept(char: str) -> str:
    if char == "\ufeff" or (unicodedata.category(char) == "Cc" and not char.isspace()):
        return ""
    return "\ufffd" if unicodedata.category(char) == "Cs" else char


def columns(text: str) -> int:
    """Width in character cells: 2 for East Asian wide and emoji, 0 for combining marks and joiners (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def pieces(word: str, limit: int) -> list[str]:
    """A word cut into pieces of at most `limit` columns, between what a reader takes for characters.

    For writing without spaces (Chinese, Japanese, Thai) and for what is no word at all. A character that is wider
    than the limit by itself stays whole.
    """
    if columns(word) <= limit:
        return [word]
    found, current = [], ""
    for cluster in _clusters(word):
        if current and columns(current + cluster) > limit:
            found.append(current)
            current = ""
        current += cluster
    return [*found, current]


def _clusters(word: str) -> list[str]:
    """Base characters with what belongs to them; a plain reading of UAX #29, enough for not tearing marks and emoji."""
    found: list[str] = []
    for char in word:
        joined = found and (
            unicodedata.category(char) in {"Mn", "Mc", "Me", "Cf"}
            or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
            or found[-1][-1] == "\u200d"  # zero-width joiner
            or (_is_flag_half(char) and len(found[-1]) == 1 and _is_flag_half(found[-1]))
        )
        if joined:
            found[-1] += char
        else:
            found.append(char)
    return found


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
