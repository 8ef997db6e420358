"""The dub from its lines and the background: each line at its time and tempo, the whole as loud as the original.

The background goes through untouched: what brings the whole to its loudness is the gain of the lines, so that between
them nothing changes. Only where that would take the lines too far from the level of the voice that they stand for, or
the peaks beyond the ceiling, is the whole made louder, quieter, or limited.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audiomill.audio import Audio, resampled
from audiomill.audio.blocks import blocks, let_go
from audiomill.audio.loudness import CEILING_DBTP, Levelled, Loudness, LoudnessMeter, levelled, loudness
from audiomill.audio.mixing import Placed, mixed
from audiomill.audio.tempo import stretched
from audiomill.lines.document import Lines
from audiomill.lines.places import places

NEAR_LU = 0.3
"""Nearer to the original's loudness than this is near enough; the receipt allows 1 LU."""

FARTHEST_DB = 6.0
"""The lines' gain stays so near to what makes them as loud as the original voice."""

_LOUDEST_GAIN_DB = 30.0
_TRIES = 4
_CENTRE = 2
"""Of 5.1 and 7.1, where speech belongs."""

_STEREO = 2


@dataclass(frozen=True, eq=False)
class Dub:
    """The dub and how it came to its loudness. lines: fitted."""

    audio: Audio
    lines: Lines
    original: Loudness
    loudness: Loudness
    whole_gain_db: float
    limited: bool


def dubbed(lines: Lines, speech: Audio, *, voice: Audio, background: Audio) -> Dub:
    """Fit and mix. speech: the lines back to back (`audiomill.lines.places`). voice, background: of the original.

    All may be maps of files. Raises ValueError for lines that were not spoken.
    """
    placed = lines.fitted()
    original = summed_loudness(voice, background)
    matching = _matching_gain_db(speech, voice)
    gain_db = matching
    for _ in range(_TRIES):
        whole = mixed(background, _placed(placed, speech, background, gain_db), target_lufs=-math.inf)
        missing = original.integrated_lufs - whole.loudness.integrated_lufs
        if not math.isfinite(missing) or abs(missing) <= NEAR_LU:
            break
        nearer = min(max(gain_db + missing, matching - FARTHEST_DB), matching + FARTHEST_DB)
        if abs(nearer - gain_db) < NEAR_LU / 3:
            break
        gain_db = nearer
    whole = _held(whole, original)
    return Dub(whole.audio, placed, original, whole.loudness, whole.gain_db, whole.limited)


def _held(whole: Levelled, original: Loudness) -> Levelled:
    """The whole brought to the loudness where the lines alone could not, and its peaks below the ceiling, or below the
    original's own where these were higher."""
    missing = original.integrated_lufs - whole.loudness.integrated_lufs
    too_far = math.isfinite(missing) and abs(missing) > NEAR_LU
    too_high = whole.loudness.true_peak_dbtp > max(CEILING_DBTP, min(0.0, original.true_peak_dbtp))
    if not (too_far or too_high):
        return whole
    return levelled(whole.audio, original.integrated_lufs, measured=whole.loudness)


def summed_loudness(voice: Audio, background: Audio) -> Loudness:
    """Of the two together: what the original was. Raises ValueError when they do not belong together."""
    if voice.samples.shape != background.samples.shape or voice.sample_rate_hz != background.sample_rate_hz:
        raise ValueError(f"a voice {voice.samples.shape} and a background {background.samples.shape}")
    meter = LoudnessMeter(sample_rate_hz=voice.sample_rate_hz, channels=voice.channels)
    for one, other in zip(blocks(voice), blocks(background), strict=True):
        meter.feed(one + other)
    return meter.finish()


def _matching_gain_db(speech: Audio, voice: Audio) -> float:
    """What makes the lines as loud as the voice that they stand for. Both are measured where they speak: what is 10 LU
    below the rest does not count."""
    wanted = loudness(voice).integrated_lufs
    heard = loudness(speech).integrated_lufs + _spread_db(voice.channels)
    gain = wanted - heard
    return max(-_LOUDEST_GAIN_DB, min(_LOUDEST_GAIN_DB, gain)) if math.isfinite(gain) else 0.0


def _spread_db(channels: int) -> float:
    """How much louder the same in both channels of stereo measures than in one alone: their powers add up."""
    return 10 * math.log10(_STEREO) if channels == _STEREO else 0.0


def _placed(lines: Lines, speech: Audio, background: Audio, gain_db: float) -> Iterator[Placed]:
    """The lines in the order of their starts, each cut out of the file as its time comes."""
    rate = background.sample_rate_hz
    where = places([line.spoken_ms or 0 for line in lines.lines], speech.sample_rate_hz)
    for line, (first, last) in zip(lines.lines, where, strict=True):
        if first == last or line.actual_start_ms is None or line.actual_end_ms is None or line.rate is None:
            continue
        spoken = speech.samples[:, first:last]
        sound = Audio(np.array(spoken), speech.sample_rate_hz)
        let_go(spoken)
        fast = resampled(stretched(sound, line.rate), rate)
        start = line.actual_start_ms * rate // 1000
        room = line.actual_end_ms * rate // 1000 - start
        yield Placed(_spread(fast.samples[:, :room], rate, background.channels), start, gain_db)


def _spread(samples: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", rate: int, channels: int) -> Audio:
    """One channel as the background has them: in the middle."""
    if channels <= _STEREO:
        return Audio(samples, rate)
    wide = np.zeros((channels, samples.shape[1]), dtype=np.float32)
    wide[_CENTRE] = samples[0]
    return Audio(wide, rate)
