"""FFmpeg's decoded frames as float32 blocks of a useful size. What is good sound is decided in `reading`."""

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import format_dtypes
from numpy.typing import NDArray

GATHERED_BYTES = 1 << 20
"""Frames hold 20 to 30 ms; Python's cost per frame vanishes when arithmetic is done on pieces of this size."""

_UNSAFE_PLANES = 8
"""FFmpeg's AV_NUM_DATA_POINTERS."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Sound as decoded: float32 [samples, channels], nominal range -1 to 1, at its rate."""

    block: NDArray[np.float32]
    sample_rate_hz: int


def gathered(frames: Iterator[av.AudioFrame]) -> Iterator[Piece]:
    """Frames joined into pieces. A change of rate, channels or sample format in mid-stream begins a new piece."""
    readable = _Readable()
    waiting: list[NDArray[np.generic]] = []
    waiting_bytes = 0
    form: tuple[int, int, str] | None = None
    for decoded in frames:
        for frame in readable.frames(decoded):
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


class _Readable:
    """Frames in a form that PyAV hands to numpy without harm.

    Two are not: 64-bit integers, which it does not know, and planar sound of 8 channels or more, where PyAV 18 reads
    beyond the frame's list of planes and the process dies (`AudioFrame.planes` looks for a null that is not there).
    """

    def __init__(self) -> None:
        self._converter: av.AudioResampler | None = None
        self._form: tuple[int, str, str] | None = None

    def frames(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        known = frame.format.name in format_dtypes
        if known and not (frame.format.is_planar and frame.layout.nb_channels >= _UNSAFE_PLANES):
            return [frame]
        form = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._converter is None or form != self._form:
            # Same rate, same channels: every frame comes out whole at once, and nothing is held back.
            self._converter, self._form = av.AudioResampler(format=frame.format.packed if known else "dbl"), form
        return self._converter.resample(frame)


def _piece(arrays: list[NDArray[np.generic]], form: tuple[int, int, str]) -> Piece:
    joined = np.concatenate(arrays)
    block = np.empty(joined.shape, dtype=np.float32)
    # What a double holds beyond float32 becomes infinite, and is counted as such by `reading`.
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
