"""The lines of a dub from subtitles, from what was heard, from both; what cannot be dubbed; who speaks."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiomill.audio import Audio
from audiomill.errors import BadInput
from audiomill.lines.document import Line, Lines
from audiomill.lines.subtitles import read_subtitles
from audiomill.stages.cast import speakers
from audiomill.stages.cast.script import Given, script
from audiomill.stages.cast.speakers import with_speakers
from audiomill.transcripts import Segment, Transcript, Word
from tests.fakes.films import talk
from tests.unit.test_audio_broken import is_sentence

SPANISH = b"1\n00:00:01,000 --> 00:00:02,000\nHola.\n\n2\n00:00:03,000 --> 00:00:04,000\nAdi\xc3\xb3s.\n"
ENGLISH = b"1\n00:00:00,900 --> 00:00:01,900\nHello.\n\n2\n00:00:03,100 --> 00:00:04,000\nGoodbye, then.\n"


def heard(*words, language="en"):
    """(text, start, end) of each word, as one segment."""
    timed = tuple(Word(*word) for word in words)
    segment = Segment(" ".join(word.text for word in timed), words[0][1], words[-1][2], timed)
    return Transcript((segment,), language, None, 10.0)


def made(given, source_language="en", target_language="es"):
    return script(given, source_language=source_language, target_language=target_language, duration_ms=10_000)


def test_target_subtitles_are_spoken_and_source_subtitles_say_what_was_said():
    lines = made(Given(source=read_subtitles(ENGLISH), target=read_subtitles(SPANISH))).lines
    assert [(line.start_ms, line.end_ms, line.text, line.translation) for line in lines.lines] == [
        (1000, 2000, "Hello.", "Hola."),
        (3000, 4000, "Goodbye, then.", "Adiós."),
    ]
    assert (lines.source_language, lines.target_language) == ("en", "es")


def test_source_subtitles_alone_are_to_be_translated():
    lines = made(Given(source=read_subtitles(ENGLISH), heard=heard(("ignored", 0, 1)))).lines
    assert [(line.start_ms, line.text, line.translation) for line in lines.lines] == [
        (900, "Hello.", None),
        (3100, "Goodbye, then.", None),
    ]


def test_what_was_heard_is_told_word_by_word_beside_target_subtitles():
    words = heard(("hello", 1.1, 1.5), ("you", 1.8, 2.3), ("good", 2.6, 2.9), ("bye", 3.2, 3.5), ("now", 9, 9.5))
    lines = made(Given(heard=words, target=read_subtitles(SPANISH)), source_language=None).lines
    assert [line.text for line in lines.lines] == ["hello you", "good bye now"]
    assert lines.source_language == "en"


def test_without_anything_heard_the_subtitles_alone_are_enough():
    lines = made(Given(target=read_subtitles(SPANISH)), source_language=None).lines
    assert [(line.text, line.translation) for line in lines.lines] == [("", "Hola."), ("", "Adiós.")]
    assert lines.source_language == "und"


OVERLAPPING = (
    b"1\n00:00:01,000 --> 00:00:06,000\nA.\n\n2\n00:00:02,000 --> 00:00:02,100\nB.\n\n"
    b"3\n00:00:07,000 --> 00:00:08,000\nC.\n"
)


@example([(2266, 468), (2266, 0)], SPANISH)  # the second begins with the first and has its middle before it
@example([(2050, 0), (5700, 0)], OVERLAPPING)  # the last is nearer to the third than to the second, but in the first
@given(
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 900)), min_size=1, max_size=30),
    st.sampled_from([SPANISH, OVERLAPPING]),
)
def test_no_word_is_lost_and_each_goes_to_a_nearest_line(times, subtitles):
    words = [
        Segment(str(number), start / 1000, (start + length) / 1000) for number, (start, length) in enumerate(times)
    ]
    given_ = Given(heard=Transcript(tuple(words), "en", None, 10.0), target=read_subtitles(subtitles))
    lines = made(given_).lines.lines
    assert sorted(word for line in lines for word in line.text.split()) == sorted(word.text for word in words)
    for word in words:
        middle = 500 * (word.start_seconds + word.end_seconds)
        away = [max(line.start_ms - middle, middle - line.end_ms, 0) for line in lines]
        (place,) = [place for place, line in enumerate(lines) if word.text in line.text.split()]
        assert away[place] == min(away)


def test_what_cannot_be_dubbed_is_said():
    nothing = Transcript((Segment("...", 0, 1),), "en", None, 10.0)
    for given_, language, code in (
        (Given(heard=heard(("hola", 0, 1), language="es")), None, "same_language"),
        (Given(source=read_subtitles(SPANISH)), "es-mx", "same_language"),
        (Given(heard=nothing), "en", "nothing_to_dub"),
    ):
        with pytest.raises(BadInput) as caught:
            made(given_, source_language=language)
        assert caught.value.code == code
        assert is_sentence(caught.value.message)


def test_notes_of_the_subtitles_are_kept():
    unsorted = b"1\n00:00:03,000 --> 00:00:04,000\nB.\n\n2\n00:00:01,000 --> 00:00:03,500\nA.\n"
    found = made(Given(target=read_subtitles(unsorted)))
    assert {note.code for note in found.notes} == {"subtitles_unsorted", "subtitles_overlap"}


def test_a_recording_is_not_heard_once_for_each_of_a_thousand_lines(monkeypatch):
    asked = []
    monkeypatch.setattr(speakers, "line_pitch_hz", lambda line, _: asked.append(line.end_ms - line.start_ms) or 100.0)
    voice = Audio(np.zeros((1, 10 * 16_000), np.float32), 16_000)
    line = Line(id="L1", start_ms=0, end_ms=10_000, text="x", translation="y")
    lines = Lines(
        source_language="en",
        target_language="es",
        duration_ms=10_000,
        lines=tuple(line.model_copy(update={"id": f"L{at}"}) for at in range(1000)),
    )
    told = speakers.with_speakers(lines, voice)
    assert len(asked) == 3, "of 6 seconds each"
    assert {(one.speaker, one.speaker_hz) for one in told.lines} == {("S1", 100.0)}
    asked.clear()
    one_by_one = tuple(Line(id=f"L{at}", start_ms=at, end_ms=at + 500, text="x") for at in range(0, 10_000, 500))
    speakers.with_speakers(lines.model_copy(update={"lines": one_by_one}), voice)
    assert len(asked) == 20


def test_two_voices_are_heard_as_two_and_named_ones_keep_their_names(tmp_path):
    spoken = talk(tmp_path)
    voice = Audio((spoken.sound - spoken.background).astype(np.float32), 48_000)
    lines = with_speakers(
        made(Given(source=read_subtitles(spoken.srt("source")), target=read_subtitles(spoken.srt("target")))).lines,
        voice,
    )
    assert [line.speaker for line in lines.lines] == ["S1", "S2", "S1", "S2"]
    low, high = lines.lines[0].speaker_hz, lines.lines[1].speaker_hz
    assert low < 130 < high
    named = lines.model_copy(
        update={"lines": tuple(line.model_copy(update={"speaker": "Ana"}) for line in lines.lines)}
    )
    assert {line.speaker for line in with_speakers(named, voice).lines} == {"Ana"}
