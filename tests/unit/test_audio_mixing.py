"""Lines faster and slower, laid over a background, at the loudness of the original; by blocks, without clicks."""

import math

import numpy as np
import pytest

from audiomill.audio import Audio, decode, resampled
from audiomill.audio.blocks import BLOCK_SAMPLES
from audiomill.audio.loudness import CEILING_DBTP, levelled, loudness
from audiomill.audio.mixing import Placed, mixed
from audiomill.audio.tempo import stretched, stretched_samples
from audiomill.settings import LimitSettings
from tests.fakes.recordings import tone

RATES = (0.85, 0.93, 1.1, 1.25)


def heard(path):
    return decode(path, sample_rate_hz=16_000, mono=True, limits=LimitSettings()).audio


def noise(seconds, rate=16_000, channels=1, level=0.05, seed=0):
    samples = np.random.default_rng(seed).normal(0, level, (channels, round(seconds * rate)))
    return Audio(samples.astype(np.float32), rate)


@pytest.mark.parametrize("rate", RATES)
def test_stretched_sound_has_the_length_that_was_told_and_its_pitch(rate):
    sound = Audio(tone(3.0, hz=440)[None], 16_000)
    faster = stretched(sound, rate)
    assert faster.samples.shape == (1, stretched_samples(48_000, rate)) == (1, round(48_000 / rate))
    middle = faster.samples[0, 4000:-4000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(np.argmax(spectrum) * 16_000 / len(middle) - 440) < 2
    assert np.abs(middle).max() > 0.45
    again = stretched(sound, rate)
    assert np.array_equal(faster.samples, again.samples)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_stretched_sound_ends_where_it_ended(rate, channels):
    """The last word is there: a burst in the last 50 ms comes out in the last 50 ms."""
    samples = np.zeros((channels, 32_000), dtype=np.float32)
    samples[:, -800:] = tone(0.05)
    faster = stretched(Audio(samples, 16_000), rate)
    energy = np.square(faster.samples).sum(axis=1)
    assert (np.square(faster.samples[:, -round(1100 / rate) :]).sum(axis=1) > 0.75 * energy).all()
    assert (energy > 0.5 * np.square(samples).sum(axis=1) / rate).all()


def test_a_rate_of_one_changes_nothing_and_a_wild_one_is_refused():
    sound = noise(1.0)
    assert stretched(sound, 1.0) is sound
    with pytest.raises(ValueError, match="rate"):
        stretched(sound, 2.5)


def test_loudness_of_what_is_known():
    sine = Audio(np.stack([tone(5.0, rate=48_000, hz=997, amplitude=1.0)] * 2), 48_000)
    measured = loudness(sine)
    assert measured.integrated_lufs == pytest.approx(0.0, abs=0.1)  # EBU Tech 3341: -23 dBFS stereo is -23 LUFS
    assert measured.true_peak_dbtp == pytest.approx(0.0, abs=0.1)
    assert loudness(Audio(np.zeros((1, 48_000), np.float32), 48_000)).integrated_lufs == -math.inf
    assert loudness(Audio(np.zeros((1, 100), np.float32), 48_000)).true_peak_dbtp == -math.inf
    assert loudness(noise(3, channels=3)).integrated_lufs < 0


@pytest.mark.parametrize("target", [-30.0, -23.0, -16.0, -12.0])
def test_speech_is_brought_to_a_loudness_and_its_peaks_are_held(recordings, target):
    for path in sorted((recordings / "speech").glob("*.wav"))[::4]:
        done = levelled(heard(path), target)
        truth = loudness(done.audio)
        assert truth.integrated_lufs == pytest.approx(target, abs=0.2)
        assert truth.true_peak_dbtp <= CEILING_DBTP + 0.05
        assert done.loudness.integrated_lufs == pytest.approx(truth.integrated_lufs, abs=0.1)
        assert done.audio.samples.shape == heard(path).samples.shape


def test_a_mix_is_its_sum_and_its_line_is_where_it_was_placed(recordings):
    background, line = noise(8.0, level=0.001), heard(recordings / "speech" / "spk1-1.wav")
    mix = mixed(background, [Placed(line, 20_000)], target_lufs=-math.inf).audio.samples[0]
    fade = 400
    inside = slice(20_000 + fade, 20_000 + line.samples.shape[1] - fade)
    assert np.allclose(mix[inside], background.samples[0, inside] + line.samples[0, fade:-fade], atol=1e-6)
    assert np.array_equal(mix[:20_000], background.samples[0, :20_000])


def test_a_mix_is_as_loud_as_it_should_be_and_as_long_as_it_must(recordings):
    line = heard(recordings / "speech" / "librivox-0880.wav")
    background = noise(10.0, channels=2, level=0.01)
    places = [Placed(line, 8_000, gain_db=-3.0), Placed(line, 9 * 16_000)]
    done = mixed(background, iter(places), target_lufs=-20.0)
    assert done.audio.samples.shape == (2, places[1].end_sample)
    assert loudness(done.audio).integrated_lufs == pytest.approx(-20.0, abs=0.5)
    alone = mixed(background, [], target_lufs=-math.inf)
    assert np.array_equal(alone.audio.samples, background.samples)
    far = mixed(background, [Placed(line, 60 * 16_000)], target_lufs=-math.inf)
    assert far.audio.samples.shape[1] == 60 * 16_000 + line.samples.shape[1]


@pytest.mark.parametrize("start", [0, 1, BLOCK_SAMPLES - 5, BLOCK_SAMPLES, 100_000])
def test_there_is_no_click_where_a_line_begins_and_ends(start):
    """A line that is cut out of a loud tone, over silence: no step is larger than the tone's own."""
    line = Audio(tone(1.0, hz=200, amplitude=0.5)[None] + np.float32(0.3), 16_000)
    silence = Audio(np.zeros((1, 400_000), np.float32), 16_000)
    mix = mixed(silence, [Placed(line, start)], target_lufs=-math.inf).audio.samples[0]
    largest = np.abs(np.diff(mix, prepend=0.0)).max()
    assert largest < 1.05 * np.abs(np.diff(line.samples[0])).max() + 0.01
    assert np.abs(mix[start]) < 0.01


def test_lines_out_of_order_or_of_another_rate_are_refused(recordings):
    line = noise(1.0)
    for lines in ([Placed(line, 5), Placed(line, 4)], [Placed(line, -1)], [Placed(resampled(line, 8000), 0)]):
        with pytest.raises(ValueError, match="a line"):
            mixed(noise(2.0), lines, target_lufs=-20.0)
