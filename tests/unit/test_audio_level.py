"""Levels against their definitions, and that cutting into blocks changes nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiomill.audio import Audio, clipped_share, level, longest_silence_seconds, peak, rms_dbfs, silent_share

RATE = 8000


def mono(samples) -> Audio:
    return Audio(np.asarray(samples, dtype=np.float32)[None, :], RATE)


def sine(amplitude: float, seconds: float = 1.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 100 * np.arange(int(seconds * RATE)) / RATE)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 7 samples, so that every test sound is cut in awkward places."""
    monkeypatch.setattr(level, "BLOCK_SAMPLES", 7)
    whole = level.blocks
    monkeypatch.setattr(level, "blocks", lambda audio, samples=7: whole(audio, samples))


def test_full_scale_sine():
    audio = mono(sine(1.0))
    assert peak(audio) == pytest.approx(1.0)
    assert rms_dbfs(audio) == pytest.approx(-3.0103, abs=1e-3)


def test_silence_and_nothing():
    assert peak(mono(np.zeros(10))) == 0.0
    assert rms_dbfs(mono(np.zeros(10))) == -math.inf
    nothing = mono([])
    assert (peak(nothing), rms_dbfs(nothing), clipped_share(nothing)) == (0.0, -math.inf, 0.0)
    assert (silent_share(nothing), longest_silence_seconds(nothing)) == (1.0, 0.0)


def test_a_sample_that_is_no_number_is_not_hidden():
    audio = mono([0.5, math.nan, 0.1])
    assert math.isnan(peak(audio))
    assert math.isnan(rms_dbfs(audio))


def test_a_lone_peak_is_not_clipping_a_flat_top_is(small_blocks):
    assert clipped_share(mono([0, 1, 0, 1, 1, 0, -1, 1, -1, 0])) == 0.0
    assert clipped_share(mono([0, 1, 1, 1, 0, 0, -1, -1, -1, -1])) == pytest.approx(0.7)
    assert clipped_share(mono([0, 0, 0, 0, 0, 1, 1, 1, 0, 0])) == pytest.approx(0.3), "a run cut by a block's edge"
    assert clipped_share(mono(np.ones(21))) == 1.0


def test_channels_are_looked_at_apart():
    stereo = Audio(np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=np.float32), RATE)
    assert clipped_share(stereo, run_length=2) == 0.5
    assert clipped_share(stereo) == 0.0


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60), st.integers(1, 5))
def test_clipping_against_a_plain_loop(values, run_length):
    expected, run = 0, []
    for value in [*values, 0.0]:
        if run and value != run[-1]:
            expected += len(run) if len(run) >= run_length else 0
            run = []
        if value:
            run.append(value)
    with pytest.MonkeyPatch.context() as patch:
        whole = level.blocks
        patch.setattr(level, "blocks", lambda audio: whole(audio, 7))
        assert clipped_share(mono(values), run_length=run_length) == pytest.approx(expected / len(values))


def test_silence_by_windows(small_blocks):
    audio = mono(np.concatenate([sine(0.5, 0.3), np.zeros(int(0.5 * RATE)), sine(0.5, 0.1), sine(0.0005, 0.1)]))
    assert silent_share(audio) == pytest.approx(0.6)
    assert longest_silence_seconds(audio) == pytest.approx(0.5)
    assert silent_share(audio, threshold_dbfs=-70) == pytest.approx(0.5)


def test_the_last_window_counts_by_its_length():
    audio = mono(np.concatenate([np.zeros(100), np.ones(100), np.zeros(50)]))
    assert silent_share(audio, window_seconds=100 / RATE) == pytest.approx(150 / 250)
    assert longest_silence_seconds(audio, window_seconds=100 / RATE) == pytest.approx(100 / RATE)


def test_one_loud_channel_breaks_the_silence():
    stereo = Audio(np.stack([np.zeros(RATE), sine(0.5)]).astype(np.float32), RATE)
    assert silent_share(stereo) == 0.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_window_has_a_length(seconds):
    with pytest.raises(ValueError, match="window_seconds"):
        silent_share(mono([0.0]), window_seconds=seconds)
