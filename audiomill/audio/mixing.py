"""Lines laid over a background, each at its place, and the whole at a loudness. Where they lie: audiomill.lines.

Block by block: the background and the lines may be maps of files, and lines are taken as their time comes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import BLOCK_SAMPLES, let_go
from audiomill.audio.loudness import Levelled, LoudnessMeter, levelled
from audiomill.audio.spool import Spool

FADE_SECONDS = 0.008
"""At either end of a line: speech that is cut from its room, or stretched, begins and ends with a step, a click."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A line: its sound (one channel, or as many as the background; its rate), its first sample, its gain."""

    audio: Audio
    start_sample: int
    gain_db: float = 0.0

    @property
    def end_sample(self) -> int:
        """Behind its last."""
        return self.start_sample + int(self.audio.samples.shape[1])


def mixed(background: Audio, lines: Iterable[Placed], *, target_lufs: float) -> Levelled:
    """Background and lines, summed, at a loudness (`-inf`: as it comes).

    As long as the background, or as the last line ends: nothing is cut off. lines: in the order of their starts, taken
    one by one. Raises ValueError for lines out of order, before 0, or of another rate or number of channels.
    """
    meter = LoudnessMeter(sample_rate_hz=background.sample_rate_hz, channels=background.channels)
    with Spool() as spool:
        for block in _summed(background, iter(lines)):
            meter.feed(block)
            spool.write(block.T)
        whole = spool.finish(background.sample_rate_hz)
    return levelled(whole, target_lufs, measured=meter.finish())


def _summed(background: Audio, lines: Iterator[Placed]) -> Iterator[NDArray[np.float32]]:
    """Blocks [channels, up to BLOCK_SAMPLES]."""
    length = int(background.samples.shape[1])
    waiting = _checked(next(lines, None), background, 0)
    sounding: deque[Placed] = deque()
    start = 0
    while start < length or sounding or waiting is not None:
        stop = start + BLOCK_SAMPLES
        while waiting is not None and waiting.start_sample < stop:
            sounding.append(waiting)
            waiting = _checked(next(lines, None), background, waiting.start_sample)
        if waiting is None and stop >= length:
            stop = max(length, *(line.end_sample for line in sounding)) if sounding else length
            stop = min(stop, start + BLOCK_SAMPLES)
        block = np.zeros((background.channels, stop - start), dtype=np.float32)
        under = background.samples[:, start:stop]
        block[:, : under.shape[1]] = under
        let_go(under)
        for line in sounding:
            _add(block, start, line)
        sounding = deque(line for line in sounding if line.end_sample > stop)
        if block.shape[1]:
            yield block
        start = stop


def _add(block: NDArray[np.float32], start: int, line: Placed) -> None:
    first, last = max(start, line.start_sample), min(start + block.shape[1], line.end_sample)
    if first >= last:
        return
    inside = np.arange(first - line.start_sample, last - line.start_sample)
    length = line.end_sample - line.start_sample
    fade = max(1, min(round(FADE_SECONDS * line.audio.sample_rate_hz), length // 2))
    edge = np.minimum(np.minimum(inside + 0.5, length - inside - 0.5) / fade, 1.0)
    gain = (10 ** (line.gain_db / 20) * 0.5 * (1 - np.cos(np.pi * edge))).astype(np.float32)
    block[:, first - start : last - start] += line.audio.samples[:, inside[0] : inside[-1] + 1] * gain


def _checked(line: Placed | None, background: Audio, after_sample: int) -> Placed | None:
    if line is None:
        return None
    if line.start_sample < after_sample:
        raise ValueError(f"a line at sample {line.start_sample} comes after one at {after_sample}, or before 0")
    if line.audio.sample_rate_hz != background.sample_rate_hz or line.audio.channels not in {1, background.channels}:
        raise ValueError(
            f"a line of {line.audio.channels} channels at {line.audio.sample_rate_hz} Hz over a background of "
            f"{background.channels} at {background.sample_rate_hz}"
        )
    return line
