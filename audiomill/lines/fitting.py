"""Fitting spoken lines to their times: how fast each is heard, and from when to when. Pure arithmetic in milliseconds.

In this order: the rate (without a change of pitch, by `audiomill.audio.tempo`), then the silence after the line, then
the silence before it. A line is never cut off and never overlaps another; what does not fit even so runs late, pushes
what follows as far as it must, and all of it is told as drift. Lines keep their order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SLOWEST, FASTEST = 0.85, 1.25
"""Word error rate of real speech by rate, with atempo: 0.31 at 0.85, 0.28 at 1, 0.29 at 1.25."""

BREATH_MS = 80
"""Left between a line and the next where silence is borrowed: lines that touch sound like one."""


@dataclass(frozen=True)
class Window:
    """A line before it is placed: its own time in the source, and how long its voice takes at its own pace."""

    start_ms: int
    end_ms: int
    spoken_ms: int


@dataclass(frozen=True)
class Fitted:
    """A line placed. drift_ms: how far it lies outside its own time, at the end where that is most; 0 when it fits."""

    start_ms: int
    end_ms: int
    rate: float
    drift_ms: int
    how: Literal["own", "after", "before", "late"]


def length_ms(spoken_ms: int, rate: float) -> int:
    """How long a line is heard at a rate, rounded up: whole milliseconds in which all of it is over."""
    return math.ceil(spoken_ms / rate - 1e-9)


def fitted(windows: Sequence[Window], *, duration_ms: int) -> list[Fitted]:
    """Each line's place, in order. `duration_ms`: of the source; a last line that is late may end after it.

    Raises ValueError for lines that are not in the order of their starts, or lengths below 0.
    """
    placed: list[Fitted] = []
    free_ms = 0  # where the line before ends
    for index, window in enumerate(windows):
        following = windows[index + 1].start_ms if index + 1 < len(windows) else None
        if window.spoken_ms < 0 or window.end_ms < window.start_ms:
            raise ValueError(f"line {index} has a length below 0")
        if following is not None and following < window.start_ms:
            raise ValueError(f"line {index + 1} starts before the one before it")
        # Who speaks while the next begins has until then: one voice is heard at a time.
        own_end = window.end_ms if following is None else min(window.end_ms, following)
        room_end = max(own_end, duration_ms if following is None else following - BREATH_MS)
        placed.append(_fit(window, own_end, room_end, free_ms, breath_ms=BREATH_MS if index else 0))
        free_ms = placed[-1].end_ms
    return placed


def _fit(window: Window, own_end: int, room_end: int, free_ms: int, *, breath_ms: int) -> Fitted:
    start = max(window.start_ms, free_ms)
    late = start > window.start_ms
    room = own_end - start
    if room >= length_ms(window.spoken_ms, FASTEST):
        # One that begins late hurries at most: it is not stretched to the end of its time too.
        rate = _rate(window.spoken_ms, room, slowest=1.0 if late else SLOWEST)
        return _told(window, start, length_ms(window.spoken_ms, rate), rate, "late" if late else "own")
    length = length_ms(window.spoken_ms, FASTEST)
    if start + length <= room_end:
        return _told(window, start, length, FASTEST, "late" if late else "after")
    earliest = max(free_ms, min(window.start_ms, free_ms + breath_ms))
    if room_end - length >= earliest:
        return _told(window, room_end - length, length, FASTEST, "before")
    return _told(window, earliest, length, FASTEST, "late")


def _rate(spoken_ms: int, room_ms: int, *, slowest: float) -> float:
    """The rate that fills the room, within bounds, in four digits; rounded up, so that the line does not get longer."""
    if room_ms <= 0:
        return 1.0  # nothing is spoken: it takes no room
    return min(max(math.ceil(spoken_ms / room_ms * 10_000) / 10_000, slowest), FASTEST)


def _told(
    window: Window, start: int, length: int, rate: float, how: Literal["own", "after", "before", "late"]
) -> Fitted:
    drift = max(abs(start - window.start_ms), start + length - window.end_ms, 0)
    return Fitted(start, start + length, rate, drift, how)
