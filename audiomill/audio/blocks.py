"""Walking through long sound in pieces, so that hours never sit in memory. No arithmetic on sound here."""

import mmap
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio

BLOCK_SAMPLES = 1 << 18
"""Samples per channel taken at a time: 1 MiB of float32 a channel, about 16 s at 16 kHz."""


def blocks(
    audio: Audio, samples: int = BLOCK_SAMPLES, *, first: int = 0, last: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Consecutive views [channels, up to `samples`] that together are `audio.samples[:, first:last]`; none when that is
    empty.

    What was walked through is let go of (`let_go`): to look at a view again is slower, and gives the same.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    end = audio.samples.shape[1] if last is None else last
    for start in range(first, end, samples):
        block = audio.samples[:, start : min(start + samples, end)]
        yield block
        let_go(block)


def let_go(samples: NDArray[np.float32]) -> None:
    """Let the pages of a view of a mapped file leave this process's memory; the file has them. Else it does nothing.

    The kernel takes such pages back by itself only when memory is short: until then hours of sound that were walked
    through once are counted as this process's.
    """
    mapped = getattr(samples, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or not samples.size:
        return
    begin = np.frombuffer(mapped, np.uint8).ctypes.data
    first = samples.ctypes.data - begin
    extent = sum((count - 1) * stride for count, stride in zip(samples.shape, samples.strides, strict=True))
    start = first // mmap.PAGESIZE * mmap.PAGESIZE
    mapped.madvise(mmap.MADV_DONTNEED, start, first + extent + samples.itemsize - start)
