"""Encoding: what comes back, that it is the same every time, and what is refused."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from av.error import PyAVCallbackError
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomill.audio import Audio, decode, encode, encode_file, probe, rounded
from audiomill.errors import BadRequest, StorageUnavailable
from audiomill.settings import LimitSettings
from tests.fakes.recordings import tone

LIMITS = LimitSettings()
FORMATS = ["wav", "flac", "mp3"]


def two_tones(rate: int = 22_050, seconds: float = 1.0) -> Audio:
    return Audio(np.stack([tone(seconds, rate=rate), tone(seconds, rate=rate, hz=700)]), rate)


def round_trip(audio: Audio, sound_format: str, folder) -> Audio:
    path = folder / f"a.{sound_format}"
    path.write_bytes(encode(audio, sound_format).data)
    decoded = decode(path, limits=LIMITS)
    assert decoded.flaws == ()
    return decoded.audio


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000, 96_000])
@pytest.mark.parametrize("sound_format", ["wav", "flac"])
def test_sixteen_bit_sound_comes_back_as_it_was(sound_format, rate, channels, tmp_path):
    whole_numbers = np.random.default_rng(channels).integers(-32_768, 32_768, (channels, 5_001))
    audio = Audio((whole_numbers / np.float32(32_768)).astype(np.float32), rate)
    back = round_trip(audio, sound_format, tmp_path)
    assert back.sample_rate_hz == rate
    np.testing.assert_array_equal(back.samples, audio.samples)


@pytest.mark.parametrize(
    ("rate", "expected"), [(8_000, 8_000), (16_000, 16_000), (22_050, 22_050), (37_000, 44_100), (96_000, 48_000)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3(rate, expected, channels, tmp_path):
    audio = Audio(two_tones(rate).samples[:channels], rate)
    back = round_trip(audio, "mp3", tmp_path)
    assert (back.channels, back.sample_rate_hz) == (channels, expected)
    assert back.seconds == pytest.approx(1.0, abs=0.001), "the encoder's delay is written down, and taken off"
    spectrum = np.abs(np.fft.rfft(back.samples[0]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


def test_rounding_is_to_the_nearest(tmp_path):
    steps = np.array([0.4, 0.6, -0.4, -0.6, 100.49, -100.51])
    back = round_trip(Audio((steps / 32_768).astype(np.float32)[None], 16_000), "wav", tmp_path)
    assert (back.samples[0] * 32_768).tolist() == [0, 1, 0, -1, 100, -101]


@pytest.mark.parametrize("sound_format", FORMATS)
def test_beyond_full_scale_is_clamped_and_counted(sound_format, tmp_path):
    samples = tone(1.0).copy()
    samples[[10, 20, 30]] = 1.5, -2.0, 1.0  # 1.0 is full scale, not beyond
    encoded = encode(Audio(samples[None], 16_000), sound_format)
    assert encoded.clipped_samples == 2
    if sound_format != "mp3":
        back = round_trip(Audio(samples[None], 16_000), sound_format, tmp_path)
        assert back.samples[0, [10, 20, 30]].tolist() == [32_767 / 32_768, -1.0, 32_767 / 32_768]


SCRIPT = """
import hashlib, sys
import numpy as np
from audiomill.audio import Audio, encode
samples = np.random.default_rng(7).normal(0, 0.2, (2, 50_000)).astype(np.float32)
for name in ("wav", "flac", "mp3"):
    print(name, hashlib.sha256(encode(Audio(samples, 37_000), name).data).hexdigest())
"""


def test_the_same_bytes_in_every_process():
    runs = {
        subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=240).stdout
        for _ in range(3)
    }
    assert len(runs) == 1
    assert len(runs.pop().splitlines()) == 3


@pytest.mark.parametrize("sound_format", FORMATS)
def test_a_file_holds_the_same_bytes(sound_format, tmp_path):
    audio = two_tones(seconds=3.5)  # more than one block
    encoded = encode(audio, sound_format)
    path = tmp_path / "out"
    assert encode_file(audio, sound_format, path) == encoded.clipped_samples == 0
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(encoded.data).digest()
    assert probe(path, limits=LIMITS).container == sound_format
    assert not any(mark in encoded.data for mark in (b"Lavf6", b"Lavc6")), "a library's version is not in the file"


@pytest.mark.parametrize("sound_format", FORMATS)
def test_one_sample(sound_format, tmp_path):
    back = round_trip(Audio(np.full((1, 1), 0.5, dtype=np.float32), 16_000), sound_format, tmp_path)
    assert back.samples.shape[1] >= 1


@pytest.mark.parametrize("sound_format", FORMATS)
def test_no_sound_is_not_a_file(sound_format, tmp_path):
    nothing = Audio(np.empty((1, 0), dtype=np.float32), 16_000)
    with pytest.raises(BadRequest, match="0 seconds"):
        encode(nothing, sound_format)
    with pytest.raises(BadRequest):
        encode_file(nothing, sound_format, tmp_path / "a")
    assert list(tmp_path.iterdir()) == [], "nothing half-written stays"


@pytest.mark.parametrize(("sound_format", "channels"), [("mp3", 3), ("flac", 9)])
def test_more_channels_than_the_format_holds(sound_format, channels):
    with pytest.raises(BadRequest, match=f"at most {channels - 1} channels"):
        encode(Audio(np.zeros((channels, 100), dtype=np.float32), 16_000), sound_format)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("sound_format", FORMATS)
def test_what_is_no_number_is_not_written(bad, sound_format):
    with pytest.raises(ValueError, match="not finite"):
        encode(Audio(np.array([[0.0, bad]], dtype=np.float32), 16_000), sound_format)


def test_a_full_disk_is_the_operators_trouble(tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageUnavailable) as caught:
        encode_file(two_tones(), "wav", full)
    assert caught.value.code == "scratch_unavailable"


@pytest.mark.parametrize("known", [True, False])
def test_and_so_is_what_closing_says_of_a_file_that_could_not_be_written(known, tmp_path, monkeypatch):
    """Several encoders at once on a full disk: FFmpeg's error at the end is not the disk's own any more."""

    def written(*_: object) -> int:
        raise PyAVCallbackError(1, "") from (OSError(28, "No space left on device") if known else None)

    monkeypatch.setattr(sys.modules["audiomill.audio.encode"], "_write", written)
    with pytest.raises(StorageUnavailable, match="No space left" if known else "took no more"):
        encode_file(two_tones(), "wav", tmp_path / "speech.wav")
    assert not (tmp_path / "speech.wav").exists()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=200),
    st.sampled_from(["wav", "flac"]),
)
def test_any_samples_come_back_within_half_a_step(values, sound_format):
    audio = Audio(np.array([values], dtype=np.float32), 16_000)
    with tempfile.TemporaryDirectory() as folder:
        back = round_trip(audio, sound_format, Path(folder))
    assert back.samples.shape == audio.samples.shape
    wanted = np.clip(audio.samples, -1, 32_767 / 32_768)
    assert np.abs(back.samples - wanted).max() <= 0.5 / 32_768


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rounded_sound_is_what_the_wav_decodes_to(channels, tmp_path):
    samples = np.random.default_rng(channels).uniform(-1.2, 1.2, (channels, 70_001)).astype(np.float32)
    audio = Audio(samples, 22_050)
    same, back = rounded(audio), round_trip(audio, "wav", tmp_path)
    assert same.sample_rate_hz == back.sample_rate_hz
    np.testing.assert_array_equal(same.samples, back.samples)
