"""The pitch of a voice: right on what has one, nothing on what has none."""

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.audio.pitch import pitches_hz
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak
from tests.fakes.recordings import tone


def voiced(samples, rate=16_000):
    found = pitches_hz(Audio(np.asarray(samples, dtype=np.float32).reshape(-1, samples.shape[-1]), rate))
    return found[found > 0], len(found)


@pytest.mark.parametrize("hertz", [70.0, 123.4, 220.0, 333.3, 480.0])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_tone_and_a_buzz_have_their_pitch(hertz, rate):
    time = np.arange(rate) / rate
    buzz = 0.2 * sum(np.sin(2 * np.pi * hertz * part * time) / part for part in range(1, 8))
    for sound in (tone(1.0, rate=rate, hz=hertz), np.stack([buzz, buzz])):
        found, frames = voiced(sound, rate)
        assert len(found) > 0.9 * frames
        assert np.median(found) == pytest.approx(hertz, rel=0.01)


def test_noise_and_silence_have_none():
    noise = np.random.default_rng(1).standard_normal(16_000) * 0.1
    found, frames = voiced(noise)
    assert len(found) < 0.05 * frames
    assert len(voiced(np.zeros(16_000))[0]) == 0
    assert voiced(np.zeros(10)) == (pytest.approx([]), 0)


def test_a_deep_voice_is_deeper_than_a_high_one(tmp_path):
    engine = Espeak(model_store=tmp_path, budget=CoreBudget(tmp_path / "cores", 1))
    medians = []
    for variant in ("m7", "m3", "f2", "f5"):
        params = SynthesizeParameters(language="en", voice=f"+{variant}")
        (speech,) = engine.synthesize(["Where the river runs, we are alone."], params)
        medians.append(float(np.median(voiced(speech.audio.samples, speech.audio.sample_rate_hz)[0])))
    assert medians[1] < 130 < medians[2] < medians[3]
    assert medians[0] < 130
