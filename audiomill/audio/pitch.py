"""How high a voice is: the fundamental frequency of speech, frame by frame. What follows from it is others' part.

YIN (de Cheveigné and Kawahara, 2002), steps 1 to 5: the squared difference of a frame with itself later, divided by its
mean up to there; the first dip below a threshold is the period, its bottom found by a parabola.
"""

import math

import numpy as np
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.resample import mono, resampled

LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
_RATE_HZ = 16_000
_WINDOW = 400
_HOP = 160
_LEAST, _MOST = int(_RATE_HZ / HIGHEST_HZ), math.ceil(_RATE_HZ / LOWEST_HZ)
_SIZE = 1 << (_WINDOW + _MOST + _WINDOW).bit_length()
_THRESHOLD = 0.15
_QUIET = 0.1
"""Of the loudest frame: what is quieter is breath, or another's voice from afar."""

_FRAMES_AT_A_TIME = 1000


def pitches_hz(audio: Audio) -> NDArray[np.float64]:
    """Of each frame (every 10 ms), 0 where nothing is voiced. For stretches of seconds: it is held in memory."""
    samples = resampled(mono(audio), _RATE_HZ).samples[0].astype(np.float64)
    count = (len(samples) - _WINDOW - _MOST) // _HOP + 1
    if count < 1:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW + _MOST)[::_HOP][:count]
    level = np.sqrt(np.mean(np.square(frames[:, :_WINDOW]), axis=1))
    found = np.concatenate([_periods(frames[at : at + _FRAMES_AT_A_TIME]) for at in range(0, count, _FRAMES_AT_A_TIME)])
    voiced = (found > 0) & (level > _QUIET * level.max()) & (level > 0)
    return np.where(voiced, _RATE_HZ / np.where(found > 0, found, 1.0), 0.0)


def _periods(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Samples of each frame's period; 0 for none."""
    difference = _differences(frames)
    means = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, _MOST + 1)
    normal = np.ones_like(difference)
    np.divide(difference[:, 1:], means, out=normal[:, 1:], where=means > 0)
    found = np.zeros(len(frames))
    for index, curve in enumerate(normal):
        below = np.flatnonzero(curve[_LEAST:-1] < _THRESHOLD)
        if not len(below):
            continue
        lag = _LEAST + int(below[0])
        while lag + 1 < _MOST and curve[lag + 1] < curve[lag]:
            lag += 1
        before, here, after = curve[lag - 1 : lag + 2]
        bend = before - 2 * here + after
        found[index] = lag + (0.5 * (before - after) / bend if bend > 0 else 0.0)
    return found


def _differences(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """[frames, lags 0 to _MOST]: the sum over the window of (sample - sample later by the lag) squared."""
    window = np.fft.rfft(frames[:, :_WINDOW], _SIZE)
    product = np.fft.irfft(np.conj(window) * np.fft.rfft(frames, _SIZE), _SIZE)[:, : _MOST + 1]
    energy = np.cumsum(np.square(frames), axis=1)
    starts = np.concatenate([np.zeros((len(frames), 1)), energy[:, :_MOST]], axis=1)
    later = energy[:, _WINDOW - 1 : _WINDOW + _MOST] - starts
    differences: NDArray[np.float64] = np.maximum(later[:, :1] + later - 2 * product, 0.0)
    return differences
