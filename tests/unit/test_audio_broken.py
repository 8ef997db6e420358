"""What customers send by mistake: each ends with a stable code and a sentence, never with an exception of FFmpeg."""

import errno
import io
import re
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiomill.audio import decode, probe
from audiomill.audio.decode import DecoderSaid
from audiomill.decoding.container import from_ffmpeg
from audiomill.errors import BadInput, LimitExceeded, StorageUnavailable
from audiomill.settings import LimitSettings
from tests.fakes.decoding_here import decoded_here
from tests.fakes.recordings import BROKEN, GOOD, RATE, encoded, mp3, pcm16, random_bytes, tone, video, wav

LIMITS = LimitSettings()


def flaws(decoded) -> list[str]:
    return [flaw.code for flaw in decoded.flaws]


def file(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def outcome(read) -> str | None:
    """The code that reading ends with; None: it worked. Anything but a BadInput with a sentence passes through."""
    try:
        read()
    except BadInput as error:
        return error.code if is_sentence(error.message) else f"not a sentence: {error.message}"
    return None


def is_sentence(message: str) -> bool:
    """Ends as one, is long enough to say what to do, and shows no path, errno or exception's name."""
    return len(message) > 40 and message.endswith(".") and not re.search(r"Error|Errno|/tmp|av\.|\bNone\b", message)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_with_its_code_and_a_sentence(name, tmp_path):
    data, codes = BROKEN[name]
    with pytest.raises(BadInput) as caught:
        decode(file(tmp_path, name, data), sample_rate_hz=16_000, mono=True, limits=LIMITS)
    assert caught.value.code in codes
    assert is_sentence(caught.value.message), caught.value.message


@pytest.mark.parametrize("name", BROKEN)
def test_probe_refuses_with_the_same_codes_or_not_at_all(name, tmp_path):
    data, codes = BROKEN[name]
    assert outcome(lambda: probe(file(tmp_path, name, data), limits=LIMITS)) in {*codes, None}


def test_the_operator_finds_what_ffmpeg_said(tmp_path):
    with pytest.raises(BadInput) as caught:
        decode(file(tmp_path, "text.wav", BROKEN["text.wav"][0]), limits=LIMITS)
    assert isinstance(caught.value.__cause__, DecoderSaid)
    assert "Invalid data" in str(caught.value.__cause__)


def test_a_missing_file_is_not_the_customers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "gone.wav", limits=LIMITS)


@pytest.mark.parametrize("size", [700, 5_000, 60_000, 400_000])
@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_never_pass_for_sound(seed, size, tmp_path):
    # Seed 1 at 400,000 bytes holds something that FFmpeg decodes as one MP3 frame at 11,025 Hz.
    with pytest.raises(BadInput) as caught:
        decode(file(tmp_path, "noise.mp3", random_bytes(size, seed)), limits=LIMITS)
    assert caught.value.code in {"undecodable_sound", "not_a_recording", "damaged_recording"}


def test_random_bytes_behind_a_good_beginning_are_refused(tmp_path):
    with pytest.raises(BadInput) as caught:
        decode(file(tmp_path, "mostly-noise.mp3", mp3()[:6_000] + random_bytes(200_000, 3)), limits=LIMITS)
    assert caught.value.code == "undecodable_sound"


def test_a_damaged_stretch_is_left_out_and_said(tmp_path):
    good = mp3()
    middle = len(good) // 2
    decoded = decode(
        file(tmp_path, "scratched.mp3", good[:middle] + random_bytes(4_000, 4) + good[middle:]), limits=LIMITS
    )
    assert "damaged_in_places" in flaws(decoded)
    assert decoded.audio.seconds == pytest.approx(3.0, abs=0.2)


def test_bad_numbers_are_counted_and_placed(tmp_path):
    with pytest.raises(BadInput, match=r"3 samples .* first at 0\.250 seconds"):
        decode(file(tmp_path, "nan.wav", BROKEN["nan.wav"][0]), limits=LIMITS)


def test_bad_numbers_late_in_a_long_file_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr("audiomill.decoding.frames.GATHERED_BYTES", 1000)
    samples = np.tile(tone(10.0), (2, 1)).T.copy()
    samples[150_000, 1] = np.nan
    data = wav(samples.astype("<f4").tobytes(), form=3, bits=32, channels=2)
    with pytest.raises(BadInput, match=r" 1 samples .* first at 9\.375 seconds"):
        decoded_here(file(tmp_path, "late.wav", data), mono=True)


def test_doubles_beyond_float_are_bad_numbers_too(tmp_path):
    samples = np.array([0.0, 1e300, -1e300, 0.5])
    with pytest.raises(BadInput) as caught:
        decode(file(tmp_path, "huge.wav", wav(samples.astype("<f8").tobytes(), form=3, bits=64)), limits=LIMITS)
    assert caught.value.code == "not_finite"


@pytest.mark.parametrize(
    ("says", "expected"),
    [(10**9, ["cut_off"]), (100, ["wrong_length_in_header"]), (0, []), (0xFFFFFFFF, []), (0x7FFFFFFF, [])],
)
def test_a_wav_header_that_lies_about_its_length(says, expected, tmp_path):
    decoded = decode(file(tmp_path, "lies.wav", wav(GOOD, says_bytes=says)), limits=LIMITS)
    assert decoded.audio.samples.shape == (1, RATE), "what is there is decoded"
    assert flaws(decoded) == expected
    np.testing.assert_array_equal(decoded.audio.samples[0], np.frombuffer(GOOD, "<i2") / np.float32(32768))


def test_tags_behind_the_sound_are_not_sound(tmp_path):
    tail = b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT" + (14).to_bytes(4, "little") + b"Some hardware\0"
    decoded = decode(file(tmp_path, "tagged.wav", wav(GOOD, tail=tail)), limits=LIMITS)
    assert (decoded.audio.samples.shape, flaws(decoded)) == ((1, RATE), [])


def test_tags_that_are_no_utf8(tmp_path):
    whole = wav(GOOD)
    tag = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little") + b"\xff\xfe\xfd\0"
    path = file(tmp_path, "tag.wav", whole[:36] + tag + whole[36:])
    assert decode(path, limits=LIMITS).audio.seconds == 1.0
    assert probe(path, limits=LIMITS).seconds == pytest.approx(1.0)


def test_a_truncated_mp3_is_decoded_as_far_as_it_goes(tmp_path):
    good = mp3()
    decoded = decode(file(tmp_path, "cut.mp3", good[: len(good) // 2 + 7]), limits=LIMITS)
    assert decoded.audio.seconds == pytest.approx(1.5, abs=0.1)
    assert flaws(decoded) == ["cut_off"]


def test_a_whole_mp3_has_no_flaw(tmp_path):
    assert flaws(decode(file(tmp_path, "whole.mp3", mp3()), limits=LIMITS)) == []


def test_an_mp4_cut_before_its_index_says_that_it_is_damaged(tmp_path):
    whole = encoded(tmp_path / "a.m4a", "aac", tone(2.0, rate=48_000)[None], rate=48_000).read_bytes()
    with pytest.raises(BadInput, match="starts like MP4") as caught:
        decode(file(tmp_path, "cut.m4a", whole[: len(whole) // 2]), limits=LIMITS)
    assert caught.value.code == "damaged_recording"


def test_a_video_without_sound(tmp_path):
    path = video(tmp_path / "silent.mp4")
    for read in (lambda p: probe(p, limits=LIMITS), lambda p: decode(p, limits=LIMITS)):
        with pytest.raises(BadInput, match="video has no sound track") as caught:
            read(path)
        assert caught.value.code == "no_sound_track"


def test_too_long_is_found_while_decoding_not_in_the_header(tmp_path, monkeypatch):
    monkeypatch.setattr("audiomill.decoding.frames.GATHERED_BYTES", 4_000)
    # The header says 100 bytes, that is 3 ms.
    path = file(tmp_path, "long.wav", wav(pcm16(tone(30.0)), says_bytes=100))
    spool = tmp_path / "spool.f32"
    with pytest.raises(LimitExceeded, match="longer than") as caught:
        decoded_here(path, max_seconds=5)
    assert caught.value.code == "recording_too_long"
    with pytest.raises(LimitExceeded, match="longer than") as caught:
        decode(path, limits=LimitSettings(max_seconds=5), spool=spool)
    assert caught.value.code == "recording_too_long"
    assert is_sentence(caught.value.message)
    assert not spool.exists(), "what a refused recording left is removed"
    assert decode(path, limits=LimitSettings(max_seconds=30)).audio.seconds == 30.0


def test_too_large(tmp_path):
    with pytest.raises(LimitExceeded) as caught:
        decode(file(tmp_path, "large.wav", wav(GOOD)), limits=LimitSettings(max_bytes=1000))
    assert caught.value.code == "recording_too_large"


def test_a_full_disk_is_the_operators_trouble(tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageUnavailable, match="No space left") as caught:
        decode(file(tmp_path, "good.wav", wav(GOOD)), limits=LIMITS, spool=full)
    assert caught.value.code == "scratch_unavailable"


@pytest.mark.parametrize("number", [errno.EIO, errno.EPERM, errno.EINVAL])
def test_whose_fault_an_error_of_ffmpeg_is(number, tmp_path):
    """FFmpeg says EIO of damaged files: it is the machine's only when we cannot read the file either."""
    error = av.FFmpegError(number, "said by FFmpeg")
    with file(tmp_path, "a.wav", wav(GOOD)).open("rb") as good:
        assert from_ffmpeg(error, good).code == "damaged_recording"

    class Unreadable(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    assert from_ffmpeg(error, Unreadable()).code == "storage_unavailable"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_few_bytes_changed_give_sound_or_a_sentence(data, tmp_path):
    """A fuzzer's border check: whatever is cut or overwritten, only AudiomillError comes out."""
    source = data.draw(st.sampled_from(["wav", "mp3", "flac", "ogg", "mp4"]), label="container")
    original = _seed(source)
    cut = data.draw(st.integers(0, len(original)), label="cut at")
    changed = bytearray(original[:cut])
    for place in data.draw(st.lists(st.integers(0, min(len(original), 200)), max_size=4), label="places"):
        if place < len(changed):
            changed[place] = data.draw(st.integers(0, 255))
    path = file(tmp_path, f"fuzz.{source}", bytes(changed))
    got = []
    code = outcome(lambda: got.append(decode(path, sample_rate_hz=16_000, mono=True, limits=LIMITS).audio.samples))
    assert code is None or code.isidentifier(), code
    assert len(got) == (code is None)
    assert all(samples.shape[1] > 0 and np.isfinite(samples).all() for samples in got)


_SEEDS: dict[str, bytes] = {}


def _seed(container: str) -> bytes:
    if container not in _SEEDS:
        codec, rate = {"wav": ("pcm_s16le", 16_000), "mp3": ("libmp3lame", 16_000), "flac": ("flac", 16_000)}.get(
            container, ("libopus", 48_000) if container == "ogg" else ("aac", 48_000)
        )
        with tempfile.TemporaryDirectory() as folder:
            _SEEDS[container] = encoded(
                Path(folder) / f"a.{container}", codec, tone(0.3, rate=rate)[None], rate=rate
            ).read_bytes()
    return _SEEDS[container]
