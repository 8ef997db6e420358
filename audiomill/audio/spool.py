"""Collecting sound of unknown length: in memory while it is short, in a raw float32 file once it is long."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.errors import StorageUnavailable

IN_MEMORY_BYTES = 64 * 1024**2
"""Sound above this goes to a file: 17 minutes of 16 kHz mono."""


class Spool:
    """Takes blocks of float32 [samples, channels] and returns one Audio.

    With a path everything is written there from the start, and the caller removes the file when the Audio is done
    with; without one, long sound goes to a temporary file that has no name and vanishes with the Audio. Either way
    long sound comes back as a read-only memory map. As a context manager it removes the file of a failed decode.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._blocks: list[NDArray[np.float32]] = []
        self._file: BinaryIO | None = None
        self._samples = 0
        self._channels = 0

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = self._path.open("w+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
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
            self._file = tempfile.TemporaryFile(prefix="audiomill-")  # noqa: SIM115 - __exit__ closes it
        if self._file is not None:
            self._drain(self._file)

    def finish(self, sample_rate_hz: int) -> Audio:
        """All that was written, as Audio [channels, samples]."""
        shape = (self._samples, self._channels)
        if self._file is None or not self._samples:
            samples = np.concatenate(self._blocks) if self._blocks else np.empty(shape, dtype=np.float32)
            return Audio(np.ascontiguousarray(samples.T), sample_rate_hz)
        self._flush(self._file)
        # The map holds the file open by itself, so that a nameless one lives as long as its Audio.
        return Audio(np.memmap(self._file, dtype=np.float32, mode="r", shape=shape).T, sample_rate_hz)

    def _drain(self, file: BinaryIO) -> None:
        try:
            file.writelines(np.ascontiguousarray(block).data for block in self._blocks)
        except OSError as error:
            raise _no_room(error) from error
        self._blocks.clear()

    def _flush(self, file: BinaryIO) -> None:
        try:
            file.flush()
        except OSError as error:
            raise _no_room(error) from error


def _no_room(error: OSError) -> StorageUnavailable:
    return StorageUnavailable(f"Decoded sound could not be written to this machine's disk: {error.strerror}.")
