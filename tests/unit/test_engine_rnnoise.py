"""RNNoise as a separator: voice and background are the source, packing changes nothing, chunks are as the whole."""

import numpy as np
import pytest

from audiomill.audio import Audio, decode
from audiomill.engines.cores import CoreBudget
from audiomill.engines.separation.protocol import Chunk, chunks, joined
from audiomill.engines.separation.rnnoise import RNNoise
from audiomill.errors import EngineUnavailable
from audiomill.settings import LimitSettings

CHUNK_SECONDS = 3.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = RNNoise(model_store=tmp_path_factory.mktemp("m"), budget=CoreBudget(tmp_path_factory.mktemp("c"), 2))
    engine.load(None, "cpu")
    return engine


@pytest.fixture(scope="module")
def noisy(recordings):
    """Speech with real noise 10 dB below it, in 16 bit; and the speech."""
    limits = LimitSettings()
    speech = decode(recordings / "speech" / "librivox-0870.wav", limits=limits).audio
    noise = decode(recordings / "noise" / "noise1.wav", limits=limits).audio.samples[0]
    clean = speech.samples[0]
    noise = np.resize(noise, clean.shape)
    noise = noise * np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10)
    mixed = np.rint(np.clip(clean + noise, -1, 0.999) * 32768) / 32768
    return Audio(mixed[None].astype(np.float32), speech.sample_rate_hz), clean


def si_sdr_db(reference, found):
    projected = np.dot(reference, found) / np.dot(reference, reference) * reference
    return 10 * np.log10(np.sum(projected**2) / np.sum((found - projected) ** 2))


def test_voice_and_background_are_the_source_and_the_voice_is_cleaner(engine, noisy):
    source, clean = noisy
    whole = engine.separate([Chunk(source, 0, source.samples.shape[1])])[0]
    assert np.array_equal(whole.voice.samples + whole.background.samples, source.samples)
    assert si_sdr_db(clean, whole.voice.samples[0]) > si_sdr_db(clean, source.samples[0]) + 1
    parts = engine.separate(list(chunks(source, context_seconds=engine.context_seconds, chunk_seconds=CHUNK_SECONDS)))
    assert len(parts) == 3
    for part in parts:
        assert part.voice.samples.shape == part.background.samples.shape
    together = joined(source, [part.voice for part in parts], chunk_seconds=CHUNK_SECONDS)
    assert np.array_equal(together.voice.samples + together.background.samples, source.samples)
    difference = np.mean((together.voice.samples - whole.voice.samples) ** 2) / np.mean(whole.voice.samples**2)
    assert 10 * np.log10(difference) < -30  # measured -42 dB with 4 s of context


def test_packing_and_order_change_nothing(engine, noisy):
    source = Audio(noisy[0].samples[:, :48_000], noisy[0].sample_rate_hz)
    cut = list(chunks(source, context_seconds=0.5, chunk_seconds=1.0))
    together = engine.separate(cut)
    backwards = engine.separate(cut[::-1])[::-1]
    for one, other, alone in zip(together, backwards, [engine.separate([chunk])[0] for chunk in cut], strict=True):
        assert np.array_equal(one.voice.samples, other.voice.samples)
        assert np.array_equal(one.voice.samples, alone.voice.samples)


@pytest.mark.parametrize(("rate", "channels", "samples"), [(44_100, 2, 22_050), (8_000, 1, 1), (48_000, 1, 479)])
def test_other_rates_channels_and_lengths(engine, rate, channels, samples):
    sound = np.rint(np.random.default_rng(0).normal(0, 3000, (channels, samples))) / 32768
    source = Audio(sound.astype(np.float32), rate)
    found = engine.separate(list(chunks(source, context_seconds=1.0)))
    assert len(found) == 1
    assert found[0].voice.samples.shape == source.samples.shape
    assert np.array_equal(found[0].voice.samples + found[0].background.samples, source.samples)


def test_a_voice_that_was_not_cut_so_is_refused():
    source = Audio(np.zeros((1, 16_000), np.float32), 16_000)
    with pytest.raises(ValueError, match="voice"):
        joined(source, [])
    with pytest.raises(ValueError, match="a voice"):
        joined(source, [Audio(np.zeros((1, 5), np.float32), 16_000)])


def test_what_it_is(engine):
    assert engine.availability()[0].available
    assert engine.identity.model_sha256
    with pytest.raises(EngineUnavailable):
        engine.load("large", "cpu")
    with pytest.raises(EngineUnavailable):
        engine.load(None, "gpu")
