"""Decoding against what was put in: length, pitch, noise, channels, for every form a customer brings."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from audiomill.audio import Audio, decode, mono, probe, resampled
from audiomill.settings import LimitSettings
from tests.fakes.decoding_here import decoded_here
from tests.fakes.recordings import GOOD, RATE, encoded, pcm16, tone, video, wav

LIMITS = LimitSettings()
SECONDS = 1.5

# name: (encoder, container by the name's ending, rate, channels, samples more or less, least SNR in dB)
FORMS = {
    "wav-u8.wav": ("pcm_u8", 16_000, 1, 0, 40),
    "wav-s16.wav": ("pcm_s16le", 44_100, 2, 0, 85),
    "wav-s24.wav": ("pcm_s24le", 48_000, 2, 0, 130),
    "wav-s32.wav": ("pcm_s32le", 96_000, 1, 0, 140),
    "wav-s64.wav": ("pcm_s64le", 48_000, 2, 0, 140),
    "wav-f32.wav": ("pcm_f32le", 48_000, 1, 0, 150),
    "wav-f64.wav": ("pcm_f64le", 48_000, 1, 0, 150),
    "wav-mulaw-8k.wav": ("pcm_mulaw", 8_000, 1, 0, 30),
    "wav-alaw-8k.wav": ("pcm_alaw", 8_000, 1, 0, 30),
    "wav-384k.wav": ("pcm_s24le", 384_000, 1, 0, 130),
    "wav-24-channels.wav": ("pcm_s16le", 48_000, 24, 0, 80),
    "adpcm.wav": ("adpcm_ima_wav", 44_100, 1, 2_048, 25),
    "big.aiff": ("pcm_s16be", 44_100, 2, 0, 85),
    "sun.au": ("pcm_s16be", 44_100, 2, 0, 85),
    "core.caf": ("pcm_s16le", 44_100, 2, 0, 85),
    "long.w64": ("pcm_s16le", 44_100, 2, 0, 85),
    "lossless.flac": ("flac", 48_000, 2, 0, 85),
    "lossless-8ch.flac": ("flac", 48_000, 8, 0, 80),
    "lossless-8bit.wv": ("wavpack", 44_100, 2, 0, 40),
    "planar-8ch.wv": ("wavpack", 48_000, 8, 0, 40),  # kills a process that trusts PyAV's planes
    "planar-24ch.wv": ("wavpack", 48_000, 24, 0, 40),
    "planar-8ch.mka": ("libopus", 48_000, 8, 0, None),
    "mpeg1.mp3": ("libmp3lame", 44_100, 2, 0, 28),
    "mpeg25.mp3": ("libmp3lame", 8_000, 1, 0, 20),
    "opus.ogg": ("libopus", 48_000, 2, 0, 20),
    "opus.opus": ("libopus", 48_000, 1, 0, 20),
    "opus.webm": ("libopus", 48_000, 2, 0, 20),
    "flac.mka": ("flac", 48_000, 2, 0, 85),
    "aac.m4a": ("aac", 48_000, 2, 1_024, 30),
    "aac.mp4": ("aac", 44_100, 1, 1_024, 30),
    "aac.mov": ("aac", 48_000, 2, 1_024, 30),
    "adts.aac": ("aac", 48_000, 2, 2_048, None),  # no container says where the encoder's delay ends
    "dolby.ac3": ("ac3", 48_000, 2, 1_536, None),
    "lossless.m4a": ("alac", 44_100, 2, 4_096, 80),
}


def sound(channels: int, rate: int) -> np.ndarray:
    """A tone per channel: 300 Hz, 400 Hz, …; float32 [channels, samples]."""
    return np.stack([tone(SECONDS, rate=rate, hz=300 + 100 * channel, amplitude=0.4) for channel in range(channels)])


def pitch_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


def snr_db(reference: np.ndarray, got: np.ndarray) -> float:
    """Of the middle, without the edges that codecs smear."""
    length = min(reference.shape[1], got.shape[1])
    middle = slice(length // 5, length - length // 5)
    noise = np.sum((got[:, middle].astype(float) - reference[:, middle]) ** 2)
    return 10 * np.log10(np.sum(reference[:, middle].astype(float) ** 2) / max(noise, 1e-30))


@pytest.mark.parametrize("name", FORMS)
def test_what_was_put_in_comes_out(name, tmp_path):
    codec, rate, channels, slack, least_snr = FORMS[name]
    original = sound(channels, rate)
    path = encoded(tmp_path / name, codec, original, rate=rate)
    decoded = decode(path, limits=LIMITS)
    samples = decoded.audio.samples
    assert decoded.flaws == ()
    assert (decoded.audio.sample_rate_hz, decoded.source_sample_rate_hz) == (rate, rate)
    assert (samples.shape[0], decoded.source_channels) == (channels, channels)
    assert abs(samples.shape[1] - original.shape[1]) <= slack
    for channel in range(channels):
        assert pitch_hz(samples[channel], rate) == pytest.approx(300 + 100 * channel, abs=2)
    if least_snr is not None:
        assert snr_db(original, samples) > least_snr
    said = probe(path, limits=LIMITS)
    assert (said.sample_rate_hz, said.channels, said.has_video) == (rate, channels, False)


@pytest.mark.parametrize("name", FORMS)
def test_for_an_engine_16_khz_mono(name, tmp_path):
    codec, rate, channels, slack, _ = FORMS[name]
    path = encoded(tmp_path / name, codec, sound(channels, rate), rate=rate)
    audio = decode(path, sample_rate_hz=16_000, mono=True, limits=LIMITS).audio
    assert (audio.channels, audio.sample_rate_hz) == (1, 16_000)
    assert audio.seconds == pytest.approx(SECONDS, abs=slack / rate + 2 / 16_000)
    assert 0.02 < np.sqrt(np.mean(audio.samples[0] ** 2)) < 0.4


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_the_sound_of_a_video(ending, tmp_path):
    path = video(tmp_path / f"film.{ending}", sound=sound(2, 48_000))
    assert probe(path, limits=LIMITS).has_video
    audio = decode(path, limits=LIMITS).audio
    assert audio.channels == 2
    assert pitch_hz(audio.samples[1], 48_000) == pytest.approx(400, abs=2)


def test_the_name_says_nothing(tmp_path):
    path = encoded(tmp_path / "a.flac", "flac", sound(1, 16_000), rate=16_000)
    path = path.rename(tmp_path / "a.mp3")
    assert decode(path, limits=LIMITS).audio.samples.shape == (1, 24_000)


def test_chained_streams_of_other_rates_and_channels_become_one_sound(tmp_path):
    first = encoded(tmp_path / "a.mp3", "libmp3lame", sound(2, 44_100), rate=44_100).read_bytes()
    second = encoded(tmp_path / "b.mp3", "libmp3lame", sound(1, 48_000), rate=48_000).read_bytes()
    path = tmp_path / "joined.mp3"
    path.write_bytes(first + second)
    audio = decode(path, limits=LIMITS).audio
    assert (audio.channels, audio.sample_rate_hz) == (2, 44_100)
    assert audio.seconds == pytest.approx(2 * SECONDS, abs=0.1)
    assert pitch_hz(audio.samples[1, -44_100:], 44_100) == pytest.approx(300, abs=2), "the second is mono: 300 Hz"


class TestSpool:
    def test_the_same_samples_as_in_memory(self, tmp_path):
        path = encoded(tmp_path / "a.flac", "flac", sound(3, 48_000), rate=48_000)
        spool = tmp_path / "a.f32"
        plain, mapped = decode(path, limits=LIMITS).audio, decode(path, limits=LIMITS, spool=spool).audio
        assert isinstance(mapped.samples, np.memmap)
        assert spool.stat().st_size == plain.samples.size * 4
        np.testing.assert_array_equal(plain.samples, mapped.samples)
        with pytest.raises(ValueError, match="read-only"):
            mapped.samples[0, 0] = 1

    def test_long_sound_goes_to_a_nameless_file_by_itself(self, tmp_path, monkeypatch):
        monkeypatch.setattr("audiomill.audio.spool.IN_MEMORY_BYTES", 10_000)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
        (tmp_path / "scratch").mkdir()
        path = tmp_path / "a.wav"
        path.write_bytes(wav(GOOD))
        audio = decode(path, limits=LIMITS).audio
        assert isinstance(audio.samples, np.memmap)
        assert list((tmp_path / "scratch").iterdir()) == []
        np.testing.assert_array_equal(audio.samples[0], np.frombuffer(GOOD, "<i2") / np.float32(32_768))

    def test_a_bad_recording_leaves_no_file(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(b"x" * 1000)
        with pytest.raises(Exception, match="not a sound"):
            decode(path, limits=LIMITS, spool=tmp_path / "a.f32")
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.wav"]


class TestSamePieces:
    """Where sound is cut into pieces must not be heard: not a bit may differ."""

    @pytest.mark.parametrize("to_hz", [16_000, 22_050, 48_000])
    def test_decoding(self, to_hz, tmp_path, monkeypatch):
        path = encoded(tmp_path / "a.mp3", "libmp3lame", sound(2, 44_100), rate=44_100)
        whole = decode(path, sample_rate_hz=to_hz, mono=True, limits=LIMITS).audio.samples
        for size in (1, 10_000, 77_777):
            monkeypatch.setattr("audiomill.decoding.frames.GATHERED_BYTES", size)
            again = decoded_here(path, sample_rate_hz=to_hz, mono=True)
            np.testing.assert_array_equal(whole, again)

    @pytest.mark.parametrize("size", [1_000, 4_097, 100_000])
    def test_resampling(self, size, monkeypatch):
        from audiomill.audio import resample
        from audiomill.audio.blocks import blocks

        audio = Audio(sound(2, 44_100), 44_100)
        whole = resampled(audio, 16_000).samples
        monkeypatch.setattr(resample, "blocks", lambda audio: blocks(audio, size))
        np.testing.assert_array_equal(whole, resampled(audio, 16_000).samples)
        np.testing.assert_array_equal(mono(audio).samples, audio.samples.mean(axis=0, dtype=float)[None].astype("f4"))


class TestResampling:
    @pytest.mark.parametrize(
        ("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (384_000, 16_000), (16_000, 44_100)]
    )
    def test_pitch_and_level_stay(self, from_hz, to_hz):
        audio = resampled(Audio(sound(2, from_hz), from_hz), to_hz)
        assert abs(audio.samples.shape[1] - SECONDS * to_hz) <= 1
        assert snr_db(sound(2, to_hz), audio.samples) > 80

    def test_what_is_above_half_the_rate_is_gone(self):
        high = Audio(tone(1.0, rate=48_000, hz=11_000)[None], 48_000)
        assert np.abs(resampled(high, 16_000).samples[:, 1000:-1000]).max() < 1e-4

    def test_nothing_to_do_is_nothing_done(self):
        audio = Audio(sound(1, RATE), RATE)
        assert resampled(audio, RATE) is audio
        assert mono(audio) is audio

    def test_no_samples(self):
        nothing = Audio(np.empty((2, 0), dtype=np.float32), RATE)
        assert resampled(nothing, 8_000).samples.shape == (2, 0)
        assert mono(nothing).samples.shape == (1, 0)

    @pytest.mark.parametrize("rate", [0, -1])
    def test_a_rate_is_positive(self, rate):
        with pytest.raises(ValueError, match="positive"):
            resampled(Audio(sound(1, RATE), RATE), rate)


def test_threads_do_not_disturb_each_other(tmp_path):
    paths = [
        encoded(tmp_path / name, codec, sound(channels, rate), rate=rate)
        for name, (codec, rate, channels, _, _) in FORMS.items()
        if channels < 3
    ]
    alone = [decode(path, sample_rate_hz=16_000, mono=True, limits=LIMITS).audio.samples for path in paths]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(decode, path, sample_rate_hz=16_000, mono=True, limits=LIMITS) for path in paths * 3]
    for index, future in enumerate(futures):
        np.testing.assert_array_equal(future.result().audio.samples, alone[index % len(paths)])


def test_one_sample_is_sound(tmp_path):
    path = tmp_path / "one.wav"
    path.write_bytes(wav(pcm16(np.array([0.25]))))
    assert decode(path, limits=LIMITS).audio.samples.tolist() == [[0.25]]
    assert decode(path, limits=LIMITS, sample_rate_hz=8_000).audio.samples.shape[1] >= 1


def test_real_recordings(recordings):
    paths = sorted(recordings.glob("*/*.wav"))
    assert len(paths) >= 10
    for path in paths:
        said, decoded = probe(path, limits=LIMITS), decode(path, sample_rate_hz=16_000, mono=True, limits=LIMITS)
        assert decoded.flaws == (), path.name
        assert said.seconds is not None
        assert decoded.audio.seconds == pytest.approx(said.seconds, abs=0.001), path.name
        assert 0.001 < np.abs(decoded.audio.samples).max() <= 1.0, path.name
