"""How loud sound is to the ear (ITU-R BS.1770-5, EBU R 128), and bringing it to a loudness. Plain levels are `level`'s.

Block by block: a map of hours costs no more memory than seconds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks
from audiomill.audio.filtering import FilterChain, samples_of
from audiomill.audio.spool import Spool
from audiomill.decoding.resampler import Resampler

CEILING_DBTP = -1.0
"""EBU R 128's: what coding to AAC or MP3 adds stays below full scale."""

NEAR_ENOUGH_LU = 0.1
_TRIES = 8
_GATE_LUFS = -70.0
_OVERSAMPLING = 4
_MARGIN_DB = 0.2  # what sampling down again adds to the peaks: measured below 0.15 dB


@dataclass(frozen=True)
class Loudness:
    """integrated_lufs: `-inf` for what is silent or shorter than 0.4 s. true_peak_dbtp: `-inf` for digital silence."""

    integrated_lufs: float
    true_peak_dbtp: float


@dataclass(frozen=True, eq=False)
class Levelled:
    """Sound brought to a loudness: what was done, and what it then measured."""

    audio: Audio
    gain_db: float
    limited: bool
    loudness: Loudness


class LoudnessMeter:
    """Measures sound as it passes."""

    def __init__(self, *, sample_rate_hz: int, channels: int) -> None:
        self._chain = FilterChain(
            [("ebur128", "metadata=1:peak=true")], sample_rate_hz=sample_rate_hz, channels=channels
        )
        self._integrated = _GATE_LUFS
        self._peak = 0.0

    def feed(self, block: NDArray[np.float32]) -> None:
        """float32 [channels, samples]."""
        for frame in self._chain.feed(block):
            self._note(frame.metadata)

    def finish(self) -> Loudness:
        """Of all that was fed."""
        for frame in self._chain.finish():
            self._note(frame.metadata)
        integrated = self._integrated if self._integrated > _GATE_LUFS else -math.inf
        return Loudness(integrated, 20 * math.log10(self._peak) if self._peak > 0 else -math.inf)

    def _note(self, metadata: dict[str, str]) -> None:
        # Measured every 0.1 s; what is shorter than that has no entry.
        self._integrated = float(metadata.get("lavfi.r128.I", self._integrated))
        self._peak = max(self._peak, float(metadata.get("lavfi.r128.true_peak", 0.0)))  # linear, whatever FFmpeg says


def loudness(audio: Audio) -> Loudness:
    """Of a whole sound."""
    meter = LoudnessMeter(sample_rate_hz=audio.sample_rate_hz, channels=audio.channels)
    for block in blocks(audio):
        meter.feed(block)
    return meter.finish()


def levelled(audio: Audio, target_lufs: float, *, measured: Loudness | None = None) -> Levelled:
    """The sound at a loudness, its true peaks held below CEILING_DBTP by a limiter where the gain alone would pass it.

    measured: its loudness, if known already. Silence, and a target that is not finite, leave the sound as it is. Within
    NEAR_ENOUGH_LU, unless so much must be limited that no gain gets there.
    """
    now = measured or loudness(audio)
    if not (math.isfinite(now.integrated_lufs) and math.isfinite(target_lufs)):
        return Levelled(audio, 0.0, limited=False, loudness=now)
    gain_db = target_lufs - now.integrated_lufs
    if now.true_peak_dbtp + gain_db <= CEILING_DBTP:
        after = Loudness(now.integrated_lufs + gain_db, now.true_peak_dbtp + gain_db)
        return Levelled(_collected(_louder(audio, gain_db), audio), gain_db, limited=False, loudness=after)
    for _ in range(_TRIES):
        limited = _collected(_limited(audio, gain_db), audio)
        after = loudness(limited)
        missing = target_lufs - after.integrated_lufs
        if abs(missing) <= NEAR_ENOUGH_LU:
            break
        gain_db += missing
    return Levelled(limited, gain_db, limited=True, loudness=after)


def _louder(audio: Audio, gain_db: float) -> Iterator[NDArray[np.float32]]:
    factor = np.float32(10 ** (gain_db / 20))
    for block in blocks(audio):
        yield (block * factor).T


def _limited(audio: Audio, gain_db: float) -> Iterator[NDArray[np.float32]]:
    """Limited at four times the rate, where the peaks between samples are samples."""
    high_hz = audio.sample_rate_hz * _OVERSAMPLING
    limit = 10 ** ((CEILING_DBTP - _MARGIN_DB) / 20)
    chain = FilterChain(
        [("alimiter", f"limit={limit:.6f}:level=0:latency=1"), ("aformat", "sample_fmts=flt")],
        sample_rate_hz=high_hz,
        channels=audio.channels,
    )
    up = Resampler(audio.sample_rate_hz, high_hz, audio.channels)
    down = Resampler(high_hz, audio.sample_rate_hz, audio.channels)
    for block in _louder(audio, gain_db):
        for frame in chain.feed(up.feed(block).T):
            yield down.feed(samples_of(frame))
    for frame in chain.feed(up.finish().T):
        yield down.feed(samples_of(frame))
    for frame in chain.finish():
        yield down.feed(samples_of(frame))
    yield down.finish()


def _collected(pieces: Iterator[NDArray[np.float32]], like: Audio) -> Audio:
    """As long as it was, to the sample: the resampler may give one more or less."""
    left = like.samples.shape[1]
    with Spool() as spool:
        for piece in pieces:
            spool.write(piece[:left])
            left -= min(left, len(piece))
        if left:
            spool.write(np.zeros((left, like.channels), dtype=np.float32))
        return spool.finish(like.sample_rate_hz)
