"""How long a text takes to speak, at least, before anyone has spoken it; and the sentence for one that takes too long.

Orders are held against the least, so that no text is refused that would have fitted; what it misses (letters that are
spelt, tables, a voice that is slower) the engine stops while speaking.
"""

import re

from audiomill.errors import LimitExceeded

REFERENCE_RATE_WPM = 175

_SECONDS_PER_LETTER = 0.045
"""At the reference rate. espeak-ng takes 0.06 s a letter in English and German prose."""

_SECONDS_PER_DIGIT = 0.08
"""It takes 0.11 to 0.12."""

_SECONDS_PER_IDEOGRAPH = 0.2
"""It takes 0.28 in Chinese, 0.54 in Japanese; a kana takes 0.11."""

_SECONDS_PER_PARAGRAPH = 0.3
"""It rests for 0.4 and more."""

_LETTERS = re.compile(r"[^\W\d_]")
_IDEOGRAPHS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_DIGITS = re.compile(r"\d")
_PARAGRAPHS = re.compile(r"\n\s*\n")


def least_seconds(text: str, *, rate_wpm: int = REFERENCE_RATE_WPM) -> float:
    """Seconds that the speech of a text lasts at least, at a speed in words a minute."""
    ideographs = len(_IDEOGRAPHS.findall(text))
    letters = len(_LETTERS.findall(text)) - ideographs
    seconds = (
        _SECONDS_PER_LETTER * letters
        + _SECONDS_PER_IDEOGRAPH * ideographs
        + _SECONDS_PER_DIGIT * len(_DIGITS.findall(text))
        + _SECONDS_PER_PARAGRAPH * len(_PARAGRAPHS.findall(text))
    )
    return seconds * REFERENCE_RATE_WPM / rate_wpm


def speech_too_long(longest_seconds: float) -> LimitExceeded:
    """The error for a text whose speech is, or would be, longer than one output may be."""
    return LimitExceeded(
        f"The text takes more than {_most(longest_seconds)} to speak, the most that one output may last. Split it into "
        "several texts, or have it spoken faster.",
        code="speech_too_long",
    )


def lines_too_long(longest_seconds: float) -> LimitExceeded:
    """The same for the lines of a dub, which are spoken back to back before each goes to its place."""
    return LimitExceeded(
        f"The lines take more than {_most(longest_seconds)} to speak altogether, the most that those of one dub may. "
        "Send the subtitles of this recording only, shorten them, or have them spoken faster.",
        code="speech_too_long",
    )


def _most(seconds: float) -> str:
    return f"{seconds / 3600:.4g} hours" if seconds >= 3600 else f"{seconds:g} seconds"  # noqa: PLR2004
