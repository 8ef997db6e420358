"""Another sample rate, fewer channels. In pieces, by soxr; the sizes of the pieces do not change a sample."""

import numpy as np
import soxr
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks
from audiomill.audio.spool import Spool


class Resampler:
    """Resamples a stream of float32 [samples, channels] blocks with soxr's HQ filter (about -120 dB aliasing)."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        self._channels = channels
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")

    def feed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after this block; soxr holds back its delay."""
        if self._stream is None:
            return block
        ready: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(block))
        return ready

    def finish(self) -> NDArray[np.float32]:
        """The rest. Nothing may be fed after it."""
        rest: NDArray[np.float32] = np.empty((0, self._channels), dtype=np.float32)
        return rest if self._stream is None else self._stream.resample_chunk(rest, last=True)


def resampled(audio: Audio, sample_rate_hz: int) -> Audio:
    """The same sound at another rate; the very same object when it already has it.

    Returns `ceil(samples x ratio)` samples, give or take one. Long sound comes back memory-mapped. Raises ValueError
    for a rate that is not positive.
    """
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz must be positive, not {sample_rate_hz}")
    if sample_rate_hz == audio.sample_rate_hz:
        return audio
    resampler = Resampler(audio.sample_rate_hz, sample_rate_hz, audio.channels)
    with Spool() as spool:
        for block in blocks(audio):
            spool.write(resampler.feed(block.T))
        spool.write(resampler.finish())
        return spool.finish(sample_rate_hz)


def mono(audio: Audio) -> Audio:
    """One channel, the mean of all; the very same object when it is mono already."""
    if audio.channels == 1:
        return audio
    if not audio.samples.size:
        return Audio(audio.samples[:1], audio.sample_rate_hz)
    with Spool() as spool:
        for block in blocks(audio):
            spool.write(downmixed(block.T))
        return spool.finish(audio.sample_rate_hz)


def downmixed(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the channels of a block: float32 [samples, channels] to [samples, 1]."""
    # Summed in float64: float32 would make the result depend on the block's memory layout.
    mean: NDArray[np.float32] = block.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    return mean
