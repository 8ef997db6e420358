"""FFmpeg's decoded frames as float32 blocks of a useful size. What is good sound is decided in `decode`."""

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import format_dtypes
from numpy.typing import NDArray

GATHERED_BYTES = 1 << 20
"""Frames hold 20 to 30 ms; Python's cost per frame vanishes when arithmetic is done on pieces of this size."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Sound as decoded: float32 [samples, channels], nominal range -1 to 1, at its rate."""

    block: NDArray[np.float32]
    sample_rate_hz: int


def gathered(frames: Iterator[av.AudioFrame]) -> Iterator[Piece]:
    """Frames joined into pieces. A change of rate, channels or sample format in mid-stream begins a new piece."""
    waiting: list[NDArray[np.generic]] = []
    waiting_bytes = 0
    form: tuple[int, int, str] | None = None
    for frame in frames:
        frame = _readable(frame)  # noqa: PLW2901 - the same frame in another number format
        here = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
        if form is not None and waiting and (here != form or waiting_bytes >= GATHERED_BYTES):
            yield _piece(waiting, form)
            waiting, waiting_bytes = [], 0
        form = here
        if frame.samples and here[1]:
            array = frame.to_ndarray()
            waiting.append(array.T if frame.format.is_planar else array.reshape(-1, here[1]))
            waiting_bytes += array.nbytes
    if form is not None and waiting:
        yield _piece(waiting, form)


def _readable(frame: av.AudioFrame) -> av.AudioFrame:
    """The frame, in a number format that PyAV can hand to numpy (64-bit integers it cannot)."""
    if frame.format.name in format_dtypes:
        return frame
    return av.AudioResampler(format="dbl").resample(frame)[0]


def _piece(arrays: list[NDArray[np.generic]], form: tuple[int, int, str]) -> Piece:
    joined = np.concatenate(arrays)
    block = np.empty(joined.shape, dtype=np.float32)
    # What a double holds beyond float32 becomes infinite, and is counted as such by `decode`.
    with np.errstate(over="ignore", invalid="ignore"):
        if joined.dtype == np.uint8:
            np.subtract(joined, 128, out=block, dtype=np.float32)
            block /= 128
        elif joined.dtype.kind == "i":
            full_scale = float(1 << (8 * joined.dtype.itemsize - 1))
            np.divide(joined, full_scale, out=block, dtype=np.float64, casting="same_kind")
        else:
            np.copyto(block, joined, casting="same_kind")
    return Piece(block, form[0])
