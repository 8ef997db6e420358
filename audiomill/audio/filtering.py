"""FFmpeg's filters over sound that is decoded, block by block. What a filter is for is said by those that use it.

Only our own samples go in: a customer's file is read in a process of its own (`audiomill.audio.decode`).
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 1 << 15
"""Handed over at a time, a channel: filters hold a copy or two of it."""


class FilterChain:
    """Filters in a row, each (name, options). Feed it blocks, then finish it; what comes is handed out as it comes."""

    def __init__(self, filters: Sequence[tuple[str, str]], *, sample_rate_hz: int, channels: int) -> None:
        self._rate_hz, self._layout = sample_rate_hz, layout_of(channels)
        self._position = 0
        graph = av.filter.Graph()
        self._source = graph.add_abuffer(
            sample_rate=sample_rate_hz, format="flt", layout=self._layout, time_base=Fraction(1, sample_rate_hz)
        )
        self._sink = graph.add("abuffersink")
        chain = [self._source, *(graph.add(name, options) for name, options in filters), self._sink]
        for one, following in pairwise(chain):
            one.link_to(following)
        graph.configure()
        self._graph = graph  # its filters live as long as it

    def feed(self, block: NDArray[np.float32]) -> Iterator[av.AudioFrame]:
        """Frames that are ready after float32 [channels, samples]."""
        for start in range(0, block.shape[1], BLOCK_SAMPLES):
            piece = block[:, start : start + BLOCK_SAMPLES]
            packed = np.ascontiguousarray(piece.T, dtype=np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate_hz, self._position
            self._position += piece.shape[1]
            self._source.push(frame)
            yield from self._ready()

    def finish(self) -> Iterator[av.AudioFrame]:
        """The rest. Nothing may be fed after it."""
        self._source.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[av.AudioFrame]:
        while True:
            try:
                frame = self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if isinstance(frame, av.AudioFrame):
                yield frame


def layout_of(channels: int) -> str:
    """FFmpeg's name of a layout."""
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def samples_of(frame: av.AudioFrame) -> NDArray[np.float32]:
    """A frame of packed floats or doubles as float32 [samples, channels]."""
    array: NDArray[np.float32] = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).astype(np.float32)
    return array
