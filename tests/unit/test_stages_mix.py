"""The mix of a dub: as loud as the original, the background untouched between lines, each line whole; its checks."""

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.lines.document import Line, Lines
from audiomill.lines.places import spoken_ms
from audiomill.stages.mix.checks import judge_dub, line_checks
from audiomill.stages.mix.mixing import dubbed
from tests.fakes.films import RATE, talk
from tests.fakes.recordings import tone
from tests.unit.test_audio_broken import is_sentence

SPEECH_RATE = 22_050


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return talk(tmp_path_factory.mktemp("talk"))


def stems(recording, channels=2):
    voice = (recording.sound - recording.background).astype(np.float32)[:channels]
    return Audio(voice, RATE), Audio(recording.background[:channels].astype(np.float32), RATE)


def document(recording, lengths):
    return Lines(
        source_language="en",
        target_language="es",
        duration_ms=recording.sound.shape[1] * 1000 // RATE,
        lines=tuple(
            Line(
                id=f"L{at}", start_ms=start, end_ms=end, text="x", translation="y",
                spoken_ms=spoken_ms(length, SPEECH_RATE),
            )
            for at, ((start, end, *_), length) in enumerate(zip(recording.turns, lengths, strict=True))
        ),
    )  # fmt: skip


def speech(lines, amplitude=0.3):
    """A tone for each line, each of its own pitch, in the room that its length gives it."""
    total = sum(line.spoken_ms for line in lines.lines)
    sound = np.concatenate(
        [
            tone(line.spoken_ms / 1000, rate=SPEECH_RATE, hz=400 + 200 * at, amplitude=amplitude)
            for at, line in enumerate(lines.lines)
        ]
    )
    return Audio(np.resize(sound, (1, round(total * SPEECH_RATE / 1000))).astype(np.float32), SPEECH_RATE)


def mix(recording, lengths=(40_000, 50_000, 30_000, 40_000), amplitude=0.3, channels=2):
    voice, background = stems(recording, channels)
    lines = document(recording, lengths)
    dub = dubbed(lines, speech(lines, amplitude), voice=voice, background=background)
    return dub, voice, background


@pytest.mark.parametrize("amplitude", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_as_loud_as_the_original_and_the_background_between_lines_is_the_same(recording, amplitude, channels):
    dub, voice, background = mix(recording, amplitude=amplitude, channels=channels)
    assert abs(dub.loudness.integrated_lufs - dub.original.integrated_lufs) < 1
    assert dub.whole_gain_db == 0
    assert not dub.limited
    first = dub.lines.lines[0].actual_start_ms * RATE // 1000
    assert np.array_equal(dub.audio.samples[:, :first], background.samples[:, :first])
    between = slice(
        dub.lines.lines[0].actual_end_ms * RATE // 1000 + 1, dub.lines.lines[1].actual_start_ms * RATE // 1000
    )
    assert np.array_equal(dub.audio.samples[:, between], background.samples[:, between])
    checks = {check.name: check for check in judge_dub(dub, voice=voice, background=background)}
    assert all(check.passed for check in checks.values()), checks
    assert checks["background_kept"].value == 0


def test_each_line_is_heard_in_its_time_at_its_pitch(recording):
    dub, _, background = mix(recording)
    for at, line in enumerate(dub.lines.lines):
        inside = slice((line.actual_start_ms + 50) * RATE // 1000, (line.actual_end_ms - 50) * RATE // 1000)
        heard = (dub.audio.samples - background.samples)[0, inside]
        spectrum = np.abs(np.fft.rfft(heard))
        assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(400 + 200 * at, rel=0.02)


def test_lines_that_take_too_long_are_told_and_none_is_cut(recording):
    dub, voice, background = mix(recording, lengths=(200_000, 50_000, 30_000, 40_000))
    checks = {check.name: check for check in judge_dub(dub, voice=voice, background=background)}
    assert checks["lines_cut_off"].passed
    assert checks["lines_overlap"].passed
    assert not checks["drift_worst_ms"].passed
    assert is_sentence(checks["drift_worst_ms"].reason)
    assert max(line.rate for line in dub.lines.lines) == 1.25
    last = dub.lines.lines[-1]
    assert dub.audio.seconds * 1000 >= last.actual_end_ms - 1


def test_lines_of_another_recording_are_told(recording):
    voice, background = stems(recording)
    silent = Audio(np.zeros_like(voice.samples), RATE)
    lines = document(recording, (40_000,) * 4)
    dub = dubbed(lines, speech(lines), voice=silent, background=background)
    checks = {check.name: check for check in judge_dub(dub, voice=silent, background=background)}
    assert not checks["dub_without_speech"].passed
    assert is_sentence(checks["dub_without_speech"].reason)
    one = lines.model_copy(update={"lines": lines.lines[:1]})
    dub = dubbed(one, speech(one), voice=voice, background=background)
    checks = {check.name: check for check in judge_dub(dub, voice=voice, background=background)}
    assert not checks["speech_without_dub"].passed
    assert is_sentence(checks["speech_without_dub"].reason)


def test_speech_of_surround_sound_is_in_the_middle(recording):
    voice, background = stems(recording, 1)
    wide = [Audio(np.repeat(one.samples, 6, axis=0) * np.float32(0.4), RATE) for one in (voice, background)]
    lines = document(recording, (40_000, 50_000, 30_000, 40_000))
    dub = dubbed(lines, speech(lines), voice=wide[0], background=wide[1])
    line = dub.lines.lines[0]
    inside = slice(line.actual_start_ms * RATE // 1000, line.actual_end_ms * RATE // 1000)
    added = np.abs(dub.audio.samples - wide[1].samples * np.float32(10 ** (dub.whole_gain_db / 20)))[:, inside]
    assert added[2].max() > 0.01
    assert abs(dub.loudness.integrated_lufs - dub.original.integrated_lufs) < 1


def test_cut_and_overlapping_lines_would_be_told(recording):
    lines = document(recording, (40_000,) * 4).fitted()
    first = lines.lines[0]
    broken = first.model_copy(update={"actual_end_ms": first.actual_start_ms + 100})
    cut = line_checks(lines.model_copy(update={"lines": (broken, *lines.lines[1:])}))
    assert [check.name for check in cut if not check.passed] == ["lines_cut_off"]
    long = first.model_copy(update={"actual_end_ms": lines.lines[1].actual_start_ms + 1})
    overlapping = line_checks(lines.model_copy(update={"lines": (long, *lines.lines[1:])}))
    assert [check.name for check in overlapping if not check.passed] == ["lines_overlap"]


def test_stems_that_do_not_belong_together_are_refused(recording):
    voice, background = stems(recording)
    lines = document(recording, (40_000,) * 4)
    with pytest.raises(ValueError, match="a voice"):
        dubbed(lines, speech(lines), voice=Audio(voice.samples[:, 1:], RATE), background=background)
