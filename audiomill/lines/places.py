"""Where each line lies in the one file that holds them all, back to back. Pure arithmetic.

A line takes whole milliseconds there, so that its length, which the document has, says where it is.
"""

import math
from collections.abc import Sequence


def spoken_ms(samples: int, sample_rate_hz: int) -> int:
    """The whole milliseconds that hold a line of so many samples wherever it begins; 0 for none."""
    return math.ceil((samples + 1) * 1000 / sample_rate_hz) if samples else 0


def places(lengths_ms: Sequence[int], sample_rate_hz: int) -> list[tuple[int, int]]:
    """The samples [first, behind the last) of each line."""
    found, at_ms = [], 0
    for length_ms in lengths_ms:
        found.append((_sample(at_ms, sample_rate_hz), _sample(at_ms + length_ms, sample_rate_hz)))
        at_ms += length_ms
    return found


def _sample(at_ms: int, sample_rate_hz: int) -> int:
    return (at_ms * sample_rate_hz + 500) // 1000
