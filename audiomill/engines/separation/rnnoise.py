"""RNNoise as a separator: what it lets through is the voice, the rest the background. Basic: music with a beat, and a
crowd, stay partly in the voice.

Its library is called directly: the package's own Python rounds to 16 bit, imports matplotlib, and is of no use here.
"""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.cores import CoreBudget
from audiomill.engines.model_hash import file_sha256
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.separation.protocol import Chunk, Separated, separated
from audiomill.errors import AudiomillError, EngineUnavailable

RATE_HZ = 48_000
_FRAME = 480
_LATENCY = 960
"""Samples by which it answers late: found by correlation, the same for every input."""

_FULL_SCALE = 32_768.0
_HIGH_PASS = (-1.99599, 0.99600)
"""Of its own input filter (denoise.c): it turns the phase of what is low by up to 180 degrees, so that what is left of
the source would hold the voice's low tones twice. Run backwards over the output, the same filter turns it back."""

_DECAY = 1 << 14  # samples after which that filter has forgotten: 144 dB down


class RNNoise:
    """Xiph's recurrent network for noise."""

    context_seconds = 4.0

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:  # noqa: ARG002 - carries its own model
        self._budget = budget

    def availability(self) -> list[Availability]:
        """One row: there when the package is."""
        lacks = None if _library_path() is not None else "the package pyrnnoise"
        return [Availability(None, "cpu", available=lacks is None, lacks=lacks, languages=None)]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Load the library. Raises EngineUnavailable."""
        if model is not None:
            raise EngineUnavailable(f"RNNoise has one model only, not {model!r}: leave it out.")
        if resource_class != "cpu":
            raise EngineUnavailable(f"RNNoise runs on the CPU only, not on {resource_class}.")
        try:
            _library()
        except OSError as error:
            raise EngineUnavailable("RNNoise's library cannot be loaded.") from error

    @property
    def identity(self) -> EngineIdentity:
        """The package's version and the hash of its library, which holds the model."""
        path = _library_path()
        return EngineIdentity("rnnoise", package_version("pyrnnoise"), None, file_sha256(path) if path else None)

    @property
    def usage(self) -> Usage:
        """A chunk a call; the library lets go of the interpreter's lock, so threads help."""
        return Usage(group_items=1, group_seconds=60, parallel_calls=self._budget.cores)

    def close(self) -> None:
        """Nothing is kept."""

    def separate(self, chunks: Sequence[Chunk], progress: Progress | None = None) -> list[Separated | AudiomillError]:
        """Separate each chunk, each channel by itself; one that is the same as the first costs nothing."""
        results: list[Separated | AudiomillError] = []
        for index, chunk in enumerate(chunks):
            with self._budget.take(1):
                first = _voice(chunk.audio.samples[0], chunk)
                rest = [
                    first if np.array_equal(channel, chunk.audio.samples[0]) else _voice(channel, chunk)
                    for channel in chunk.audio.samples[1:]
                ]
            results.append(separated(chunk, np.stack([first, *rest])))
            if progress is not None:
                progress(index, 1.0)
        return results


def _voice(samples: NDArray[np.float32], chunk: Chunk) -> NDArray[np.float32]:
    """The voice [last - first] in one channel of a chunk."""
    rate = chunk.audio.sample_rate_hz
    high = np.asarray(soxr.resample(np.ascontiguousarray(samples), rate, RATE_HZ), dtype=np.float32)
    heard = _turned_back(_denoised(high))
    low = np.asarray(soxr.resample(heard, RATE_HZ, rate), dtype=np.float32)[: chunk.last]
    return np.pad(low, (0, max(0, chunk.last - len(low))))[chunk.first : chunk.last]


def _denoised(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """As RNNoise hears it, at its place in time. A state of its own each: nothing of one chunk reaches another."""
    library = _library()
    frames = -(-(len(samples) + _LATENCY) // _FRAME)
    buffer = np.zeros(frames * _FRAME, dtype=np.float32)
    buffer[: len(samples)] = samples * np.float32(_FULL_SCALE)
    state = library.rnnoise_create(None)
    try:
        for frame in range(frames):
            at = buffer.ctypes.data + frame * _FRAME * buffer.itemsize
            library.rnnoise_process_frame(state, at, at)
    finally:
        library.rnnoise_destroy(state)
    return buffer[_LATENCY : _LATENCY + len(samples)] / np.float32(_FULL_SCALE)


def _turned_back(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The high-pass, backwards in time."""
    size = 1 << (len(samples) + _DECAY).bit_length()
    spectrum = np.fft.rfft(samples.astype(np.float64), size) * np.conj(np.fft.rfft(_impulse_response(), size))
    turned: NDArray[np.float32] = np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
    return turned


@lru_cache(maxsize=1)
def _impulse_response() -> NDArray[np.float64]:
    response = np.zeros(_DECAY)
    first, second = _HIGH_PASS
    before = further = 0.0
    for index in range(_DECAY):
        value = {0: 1.0, 1: -2.0, 2: 1.0}.get(index, 0.0) - first * before - second * further
        response[index], before, further = value, value, before
    return response


def _library_path() -> Path | None:
    found = find_spec("pyrnnoise")  # looked up, not imported
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for name in ("librnnoise.so", "librnnoise.dylib"):
            if (path := Path(folder) / name).is_file():
                return path
    return None


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    path = _library_path()
    if path is None:
        raise EngineUnavailable("RNNoise lacks the package pyrnnoise.")
    library = ctypes.CDLL(str(path))
    library.rnnoise_create.argtypes, library.rnnoise_create.restype = [ctypes.c_void_p], ctypes.c_void_p
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.rnnoise_process_frame.restype = ctypes.c_float
    return library
