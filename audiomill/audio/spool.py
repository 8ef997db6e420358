"""Collecting sound of unknown length: in memory while it is short, in a raw float32 file once it is long."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.errors import StorageUnavailable
from audiomill.scratch import SCRATCH_UNAVAILABLE, nameless_file

IN_MEMORY_BYTES = 16 * 1024**2
"""Sound above this goes to a file: four minutes of 16 kHz mono."""


class Spool:
    """Takes blocks of float32 [samples, channels] and returns one Audio.

    Long sound goes to a scratch file that has no name and vanishes with the Audio, which is a read-only memory map of
    it.
    """

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.float32]] = []
        self._file: BinaryIO | None = None
        self._samples = 0
        self._channels = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._blocks.clear()

    def write(self, block: NDArray[np.float32]) -> None:
        """Add samples: float32 [samples, channels]. Raises StorageUnavailable when the disk is full."""
        if self._channels and block.shape[1] != self._channels:
            raise ValueError(f"a block of {block.shape[1]} channels after blocks of {self._channels}")
        self._channels = block.shape[1]
        if not len(block):
            return
        self._samples += len(block)
        self._blocks.append(block)
        if self._file is None and self._samples * self._channels * 4 > IN_MEMORY_BYTES:
            self._file = nameless_file()
        if self._file is not None:
            self._drain(self._file)

    def finish(self, sample_rate_hz: int) -> Audio:
        """All that was written, as Audio [channels, samples]."""
        shape = (self._samples, self._channels)
        if self._file is None or not self._samples:
            samples = np.concatenate(self._blocks) if self._blocks else np.empty(shape, dtype=np.float32)
            return Audio(np.ascontiguousarray(samples.T), sample_rate_hz)
        self._flush(self._file)
        return mapped(self._file, self._samples, self._channels, sample_rate_hz)

    def _drain(self, file: BinaryIO) -> None:
        with writing():
            file.writelines(np.ascontiguousarray(block).data for block in self._blocks)
        self._blocks.clear()

    def _flush(self, file: BinaryIO) -> None:
        with writing():
            file.flush()


@contextmanager
def writing() -> Iterator[None]:
    """Sound is written to this machine's disk. Raises StorageUnavailable when that is full."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"Decoded sound could not be written to this machine's disk: {error.strerror}.", code=SCRATCH_UNAVAILABLE
        ) from error


def mapped(file: BinaryIO, samples: int, channels: int, sample_rate_hz: int, *, short_too: bool = False) -> Audio:
    """Raw float32 [samples, channels] of a file as Audio: a read-only map of it, or a copy when it is short.

    The map holds the file open by itself, so that a nameless one lives as long as its Audio.
    """
    shape = (samples, channels)
    if samples * channels * 4 > IN_MEMORY_BYTES or short_too:
        return Audio(np.memmap(file, dtype=np.float32, mode="r", shape=shape).T, sample_rate_hz)
    file.seek(0, os.SEEK_SET)
    held = np.frombuffer(file.read(samples * channels * 4), dtype=np.float32).reshape(shape)
    return Audio(np.ascontiguousarray(held.T), sample_rate_hz)
