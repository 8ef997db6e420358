"""Another sample rate and fewer channels, block by block. Whole sounds are audiomill/audio/resample.py's part."""

import numpy as np
import soxr
from numpy.typing import NDArray


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


def downmixed(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the channels of a block: float32 [samples, channels] to [samples, 1]."""
    # Summed in float64: float32 would make the result depend on the block's memory layout.
    mean: NDArray[np.float32] = block.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    return mean
