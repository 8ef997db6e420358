"""Lines spoken: each by its speaker's voice, kept in any order, back to back in one file; what cannot be spoken."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from audiomill.audio import Audio, decode
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak, choose_voice
from audiomill.engines.text_to_speech.protocol import Speech
from audiomill.errors import BadInput, LimitExceeded
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.lines.document import Line, Lines
from audiomill.lines.places import places
from audiomill.milling.bench import Bench
from audiomill.milling.parts import Reads
from audiomill.settings import LimitSettings, Settings
from audiomill.stages.speak.speech import SpokenLines, check_length, or_unspoken, trimmed, units
from audiomill.stages.speak.voices import with_voices
from audiomill.stages.speak.work import Speaking
from tests.fakes.recordings import tone
from tests.unit.test_audio_broken import is_sentence

LIMITS = LimitSettings()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Espeak(model_store=tmp_path_factory.mktemp("m"), budget=CoreBudget(tmp_path_factory.mktemp("c"), 1))


def document(*texts, speakers=("S1", "S2"), language="es", **keywords):
    return Lines(
        source_language="en",
        target_language=language,
        duration_ms=60_000,
        lines=tuple(
            Line(
                id=f"L{at}", speaker=speakers[at % len(speakers)], speaker_hz=(110.0, 210.0)[at % 2],
                start_ms=at * 1000, end_ms=at * 1000 + 900, text="x", translation=text, **keywords,
            )
            for at, text in enumerate(texts)
        ),
    )  # fmt: skip


def test_each_speaker_has_a_voice_and_an_order_or_an_edit_goes_first(engine):
    found = with_voices(document("Hola.", "Adiós.", "Hola."), {}, engine).lines
    assert found[0].voice == found[2].voice != found[1].voice
    assert all(line.voice.startswith("roa/es+") for line in found)
    ordered = with_voices(document("Hola.", "Adiós."), {"S2": "roa/es+f5", "*": "roa/es+m8"}, engine).lines
    assert [line.voice for line in ordered] == ["roa/es+m8", "roa/es+f5"]
    assert [line.voice_pitch for line in ordered] == [50, 50]
    edited = with_voices(document("Hola.", "Adiós.", voice="roa/es-419"), {"*": "roa/es"}, engine).lines
    assert {line.voice for line in edited} == {"roa/es-419"}
    with pytest.raises(BadInput, match="no voice for the language"):
        with_voices(document("Hola.", language="qqq"), {}, engine)


def test_variants_of_a_voice(engine):
    assert choose_voice("es", "+f2").identifier == "roa/es+f2"
    assert choose_voice("fr", "roa/es+m3").identifier == "roa/es+m3"
    for name, near in (("+f99", "f"), ("roa/es+", ""), ("+../../../etc/passwd", ""), ("nobody+f2", "")):
        with pytest.raises(BadInput) as caught:
            choose_voice("es", name)
        assert caught.value.code == "no_voice"
        assert is_sentence(caught.value.message)
        assert near in caught.value.message


def said(engine, unit):
    return or_unspoken(unit, engine.synthesize([unit.text], unit.parameters)[0])


def spoken(lines, folder, engine, order):
    folder.mkdir()
    kept = SpokenLines(lines, folder)
    found = units(lines, 175)
    for at in order:
        kept.keep(found[at].place, said(engine, found[at]))
    return kept.finish()


def test_order_changes_nothing_and_each_line_is_where_its_length_says(tmp_path, engine):
    lines = with_voices(document("Buenos días a todos.", "♪ ♪", "¿Quién es?", "Nadie."), {}, engine)
    told, path, checks = spoken(lines, tmp_path / "a", engine, (0, 1, 2, 3))
    again, other, _ = spoken(lines, tmp_path / "b", engine, (3, 1, 0, 2))
    assert told == again
    assert path.read_bytes() == other.read_bytes()
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["speech.flac"]
    assert [line.spoken_ms == 0 for line in told.lines] == [False, True, False, False]
    assert [(check.name, check.passed, check.value) for check in checks] == [("unspoken_lines", False, 1)]
    audio = decode(path, limits=LIMITS).audio
    for line, (first, last), unit in zip(
        told.lines,
        places([line.spoken_ms for line in told.lines], audio.sample_rate_hz),
        units(lines, 175),
        strict=True,
    ):
        if line.spoken_ms:
            (alone,) = engine.synthesize([unit.text], unit.parameters)
            wanted = trimmed(alone.audio).samples[0]
            found = audio.samples[0, first:last]
            assert np.array_equal(found[: len(wanted)], wanted)
            assert not np.any(found[len(wanted) :])
            assert line.spoken_ms / 1000 == pytest.approx(len(wanted) / audio.sample_rate_hz, abs=0.002)


def test_a_line_that_cannot_be_spoken_is_named(tmp_path, engine):
    (unit,) = units(document("Ho\x07la."), 175)
    found = said(engine, unit)
    assert (found.code, found.message[:25]) == ("control_characters", "Line L0 cannot be spoken:")
    for nothing in (document("..."), document("♪", "♪")):
        kept = SpokenLines(nothing, tmp_path)
        for unit in units(nothing, 175):
            kept.keep(unit.place, said(engine, unit))
        with pytest.raises(BadInput) as caught:
            kept.finish()
        assert caught.value.code == "nothing_to_speak"


def test_lines_that_take_too_long_together_are_refused_before_and_stopped_while_they_are_spoken(tmp_path):
    lines = document(*["a b c d e f g h" * 100] * 3)
    check_length(lines, 175, 200)
    with pytest.raises(LimitExceeded) as before:
        check_length(lines, 175, 60)
    kept = SpokenLines(lines, tmp_path, longest_seconds=2.5)
    for place in (0, 1):
        kept.keep(place, Speech(Audio(tone(1.0)[None], 16_000)))
    with pytest.raises(LimitExceeded) as meanwhile:
        kept.keep(2, Speech(Audio(tone(1.0)[None], 16_000)))
    for caught in (before, meanwhile):
        assert caught.value.code == "speech_too_long"
        assert is_sentence(caught.value.message)


def test_what_a_dub_may_speak_is_looked_at_first(tmp_path):
    """Of subtitles of 10 MB an engine would make 500 hours of sound, on disk and in the store."""
    settings = Settings(data_dir=tmp_path, limits=LimitSettings(max_seconds=60))
    path = tmp_path / "lines.json"
    path.write_bytes(document(*["a b c d e f g h" * 100] * 3, voice="es").to_json())
    stage = Speaking(cast("Bench", SimpleNamespace(settings=settings, engine=None)))
    with pytest.raises(LimitExceeded, match="more than 60 seconds"):
        stage.look(cast("ClaimedItem", SimpleNamespace(options={})), Reads({"translate/lines": path}), tmp_path)


def test_a_line_that_was_not_translated_is_a_fault_of_ours():
    lines = document("Hola.")
    with pytest.raises(ValueError, match="not translated"):
        units(lines.model_copy(update={"lines": (lines.lines[0].model_copy(update={"translation": None}),)}), 175)


def test_silence_at_either_end_is_left_out():
    sound = np.concatenate([np.zeros(5000), tone(0.5, rate=22_050), np.zeros(9000)]).astype(np.float32)
    short = trimmed(Audio(sound[None], 22_050)).samples.shape[1]
    assert len(sound) - 14_000 < short < len(sound) - 14_000 + 0.05 * 22_050
    silent = Audio(np.zeros((1, 100), np.float32), 22_050)
    assert trimmed(silent) is silent
    assert trimmed(Audio(np.zeros((1, 0), np.float32), 22_050)).samples.size == 0


def test_lines_of_two_rates_are_no_file(tmp_path):
    kept = SpokenLines(document("a", "b"), tmp_path)
    kept.keep(0, Speech(Audio(tone(0.1)[None], 16_000)))
    with pytest.raises(ValueError, match="8000 Hz"):
        kept.keep(1, Speech(Audio(tone(0.1)[None], 8_000)))
