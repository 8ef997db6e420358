"""How loud, how clipped, how silent: plain figures of the samples, for the quality checks. Verdicts are `quality`'s.

dBFS here is 20 log10 of a value whose full scale is 1.0, so a full-scale sine has an RMS of -3.01 dBFS (not AES17's
0 dBFS). Everything is counted in blocks: a memory-mapped recording of hours costs no more memory than a short one.
Samples that are not finite make `peak` and `rms_dbfs` NaN; `decode` lets none through.
"""

import math

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import BLOCK_SAMPLES, blocks


def peak(audio: Audio) -> float:
    """Largest absolute sample over all channels, linear (1.0 is full scale); 0.0 when there are no samples."""
    largest = 0.0
    for block in blocks(audio):
        here = float(np.max(np.abs(block)))
        largest = here if math.isnan(here) else max(largest, here)
        if math.isnan(largest):
            break
    return largest


def rms_dbfs(audio: Audio) -> float:
    """Root mean square over all samples of all channels in dBFS; `-inf` for silence and when there are no samples."""
    energy = sum(float(np.sum(np.square(block, dtype=np.float64))) for block in blocks(audio))
    return _decibel(energy / audio.samples.size) if audio.samples.size else -math.inf


def clipped_share(audio: Audio, threshold: float = 0.999, run_length: int = 3) -> float:
    """Share (0 to 1) of samples that lie in a flat top: `run_length` or more neighbours at one rail.

    A lone sample at full scale is an honest peak; a converter or limiter that ran out of room leaves several in a
    row. A sample counts when it is at or beyond `threshold` (linear); both rails are looked at apart, channel by
    channel.
    """
    if not threshold > 0 or run_length < 1:
        raise ValueError(f"threshold must be positive and run_length at least 1, not {threshold} and {run_length}")
    if not audio.samples.size:
        return 0.0
    counters = [_RunCounter(run_length) for _ in range(2 * audio.channels)]
    for block in blocks(audio):
        for channel, samples in enumerate(block):
            counters[2 * channel].feed(samples >= threshold)
            counters[2 * channel + 1].feed(samples <= -threshold)
    return sum(counter.finish() for counter in counters) / audio.samples.size


def silent_share(audio: Audio, threshold_dbfs: float = -60.0, window_seconds: float = 0.05) -> float:
    """Share (0 to 1) of the length that is silent; 1.0 when there are no samples.

    The sound is cut into windows of `window_seconds` (the last may be shorter and counts by its length). A window is
    silent when the RMS of its loudest channel is below `threshold_dbfs`.
    """
    length = int(audio.samples.shape[1])
    if not length:
        return 1.0
    window = _window_samples(audio, window_seconds)
    silent = _silent_windows(audio, threshold_dbfs, window)
    last = length - (len(silent) - 1) * window
    silent_samples = int(np.count_nonzero(silent[:-1])) * window + (last if silent[-1] else 0)
    return silent_samples / length


def longest_silence_seconds(audio: Audio, threshold_dbfs: float = -60.0, window_seconds: float = 0.05) -> float:
    """Length in seconds of the longest run of silent windows, as `silent_share` knows them; 0.0 without samples."""
    length = int(audio.samples.shape[1])
    if not length:
        return 0.0
    window = _window_samples(audio, window_seconds)
    starts, ends = _runs(_silent_windows(audio, threshold_dbfs, window))
    longest = max(
        (min(int(end) * window, length) - int(start) * window for start, end in zip(starts, ends, strict=True)),
        default=0,
    )
    return longest / audio.sample_rate_hz


class _RunCounter:
    """Counts members of runs of at least `least` true values, over blocks that may cut a run."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._open = 0
        self._counted = 0

    def feed(self, flags: NDArray[np.bool_]) -> None:
        if not flags.any():  # the common case, at a tenth of the cost
            self._shut()
            return
        starts, ends = _runs(flags)
        if not len(starts) or starts[0] != 0:
            self._shut()
        for length, end in zip(ends - starts, ends, strict=True):
            self._open += int(length)
            if end < len(flags):
                self._shut()

    def finish(self) -> int:
        self._shut()
        return self._counted

    def _shut(self) -> None:
        if self._open >= self._least:
            self._counted += self._open
        self._open = 0


def _runs(flags: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Starts and (exclusive) ends of the runs of true values."""
    edges = np.diff(flags.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _window_samples(audio: Audio, window_seconds: float) -> int:
    if not window_seconds > 0:
        raise ValueError(f"window_seconds must be positive, not {window_seconds}")
    return max(1, round(window_seconds * audio.sample_rate_hz))


def _silent_windows(audio: Audio, threshold_dbfs: float, window: int) -> NDArray[np.bool_]:
    """One flag per window: is its loudest channel below the threshold?"""
    limit = 10 ** (threshold_dbfs / 10)
    powers = []
    for block in blocks(audio, max(1, BLOCK_SAMPLES // window) * window):
        edges = np.arange(0, block.shape[1], window)
        sums = np.add.reduceat(np.square(block, dtype=np.float64), edges, axis=1)
        powers.append(np.max(sums / np.diff(edges, append=block.shape[1]), axis=0))
    silent: NDArray[np.bool_] = np.concatenate(powers) < limit
    return silent


def _decibel(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else (math.nan if math.isnan(power) else -math.inf)
