"""What an engine of separation is: chunks with their context in, voice and background out; and cutting and joining.

A chunk is the unit: it carries all that its result depends on, so that packing and order change nothing. Voice and
background are the source again, to the sample, for sound of up to 16 bit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audiomill.audio import Audio
from audiomill.audio.blocks import BLOCK_SAMPLES, let_go
from audiomill.audio.spool import Spool
from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError

CHUNK_SECONDS = 20.0
SEAM_SECONDS = 0.05
"""Chunks overlap by it, and one is faded into the next: their voices differ a little, and a step would click."""

_STEPS = 32_768.0


@dataclass(frozen=True, eq=False)
class Chunk:
    """Sound with what is heard before and after it: the samples [first, last) of `audio` are to be separated."""

    audio: Audio
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Separated:
    """Voice and background, of one length; their sum is the source."""

    voice: Audio
    background: Audio


class Separator(Engine, Protocol):
    """Separates. Takes sound of any rate and number of channels, and gives it back in the same form."""

    context_seconds: float
    """What a chunk should carry on either side."""

    def separate(self, chunks: Sequence[Chunk], progress: Progress | None = None) -> list[Separated | AudiomillError]:
        """One result per chunk, in order, of its [first, last); or the error of that chunk alone.

        Raises EngineFailed only when the engine itself broke.
        """
        ...


def chunks(audio: Audio, *, context_seconds: float, chunk_seconds: float = CHUNK_SECONDS) -> Iterator[Chunk]:
    """The chunks of a sound, one after the other, each overlapping the next by SEAM_SECONDS; views, no copies."""
    length = int(audio.samples.shape[1])
    step, seam = round(chunk_seconds * audio.sample_rate_hz), _seam(audio)
    context = round(context_seconds * audio.sample_rate_hz)
    for start in range(0, length, step):
        stop = min(start + step + seam, length)
        before, after = max(0, start - context), min(length, stop + context)
        yield Chunk(Audio(audio.samples[:, before:after], audio.sample_rate_hz), start - before, stop - before)
        if stop == length:
            return


def joined(source: Audio, voices: Iterable[Audio], *, chunk_seconds: float = CHUNK_SECONDS) -> Separated:
    """The voices of a sound's chunks, in order, as one; the background is what they leave of the source.

    Raises ValueError when they are not as long as the chunks were.
    """
    step, seam = round(chunk_seconds * source.sample_rate_hz), _seam(source)
    length, start, tail = int(source.samples.shape[1]), 0, np.empty((source.channels, 0), dtype=np.float32)
    with Spool() as voice, Spool() as background:
        for one in voices:
            expected = min(step + seam, length - start)
            if one.samples.shape != (source.channels, expected):
                raise ValueError(f"a voice {one.samples.shape} where {(source.channels, expected)} was cut")
            piece = np.array(one.samples)
            rise = ((np.arange(tail.shape[1]) + 0.5) / max(1, tail.shape[1])).astype(np.float32)
            piece[:, : tail.shape[1]] = tail * (1 - rise) + piece[:, : tail.shape[1]] * rise
            done = min(step, expected) if start + expected < length else expected
            for at in range(0, done, BLOCK_SAMPLES):
                upto = min(at + BLOCK_SAMPLES, done)
                here = source.samples[:, start + at : start + upto]
                spoken, left = split(here, piece[:, at:upto])
                voice.write(spoken.T)
                background.write(left.T)
                let_go(here)
            tail, start = piece[:, done:], start + done
        if start != length:
            raise ValueError(f"voices of {start} samples for a source of {length}")
        return Separated(voice.finish(source.sample_rate_hz), background.finish(source.sample_rate_hz))


def split(source: NDArray[np.float32], voice: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The voice in steps of 16 bit and what is left of the source, neither beyond full scale: as files hold them."""
    steps = np.rint(voice * np.float32(_STEPS)) / np.float32(_STEPS)
    spoken = np.clip(np.clip(steps, source - 1, source + 1), -1, 1 - 1 / _STEPS).astype(np.float32)
    return spoken, (source - spoken).astype(np.float32)


def separated(chunk: Chunk, voice: NDArray[np.float32]) -> Separated:
    """The result of a chunk from the voice [channels, last - first] that an engine heard in it."""
    source = chunk.audio.samples[:, chunk.first : chunk.last]
    spoken, left = split(source, voice)
    return Separated(Audio(spoken, chunk.audio.sample_rate_hz), Audio(left, chunk.audio.sample_rate_hz))


def _seam(audio: Audio) -> int:
    return round(SEAM_SECONDS * audio.sample_rate_hz)
