"""Walking through long sound in pieces, so that hours never sit in memory. No arithmetic on sound here."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio

BLOCK_SAMPLES = 1 << 18
"""Samples per channel taken at a time: 1 MiB of float32 a channel, about 16 s at 16 kHz."""


def blocks(audio: Audio, samples: int = BLOCK_SAMPLES) -> Iterator[NDArray[np.float32]]:
    """Consecutive views [channels, up to `samples`] that together are `audio.samples`; none when it is empty."""
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    for start in range(0, audio.samples.shape[1], samples):
        yield audio.samples[:, start : start + samples]
