"""Subtitles that customers bring: read, mended and told, or refused with a sentence; linear in size."""

import io

import pytest
import srt
import webvtt

from audiomill.errors import CustomerError
from audiomill.lines import read_subtitles
from audiomill.transcripts import Segment, Transcript
from audiomill.transcripts.formats import render
from tests.unit.test_audio_broken import is_sentence

GOOD = "1\n00:00:01,000 --> 00:00:02,500\nHello.\n\n2\n00:00:03,000 --> 00:00:04,000\nGood <i>morning</i>,\nfriend.\n"


def read(text, **keywords):
    return read_subtitles(text.encode() if isinstance(text, str) else text, **keywords)


def shown(imported):
    return [(line.start_ms, line.end_ms, line.text) for line in imported.lines]


def codes(imported):
    return [note.code for note in imported.notes]


def cue(start, end, text="Hi."):
    return f"00:00:{start} --> 00:00:{end}\n{text}\n\n"


def test_srt_is_read():
    imported = read(GOOD)
    assert shown(imported) == [(1000, 2500, "Hello."), (3000, 4000, "Good morning, friend.")]
    assert [line.id for line in imported.lines] == ["L00001", "L00002"]
    assert imported.notes == ()


def test_vtt_is_read_with_speakers_and_without_notes_styles_and_settings():
    imported = read(
        "WEBVTT - a title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a --> b is\nmy own\n".replace(
            " --> ", " to "
        )
        + "\n\nintro\n00:01.000 --> 00:02.000 align:start line:0\n<v.loud Mary Ann>Fish &amp; <c.red>chips</c></v>"
        "\n\nNOTE not said\n\n01:00:00.500 --> 01:00:01.000\n<00:00.1>- Yes.\n- No &lt;3\n"
    )
    assert shown(imported) == [(1000, 2000, "Fish & chips"), (3_600_500, 3_601_000, "Yes. No <3")]
    assert [line.speaker for line in imported.lines] == ["Mary Ann", None]


def milliseconds(clock):
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)


TRANSCRIPT = Transcript(
    tuple(Segment(f"Line {n}: a & b, 3 < 4, «é» 日本.", n * 3.0, n * 3 + 2.345) for n in range(40)), "en", None, 130.0
)


@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_what_we_write_and_what_well_known_readers_see_is_what_we_read(ending):
    data = render(TRANSCRIPT, ending)
    if ending == "srt":
        theirs = [
            (round(one.start.total_seconds() * 1000), round(one.end.total_seconds() * 1000), one.content)
            for one in srt.parse(data.decode())
        ]
    else:
        theirs = [
            (milliseconds(one.start), milliseconds(one.end), one.text.replace("&amp;", "&").replace("&lt;", "<"))
            for one in webvtt.from_buffer(io.StringIO(data.decode()))
        ]
    assert shown(read(data)) == [(start, end, " ".join(text.split("\n"))) for start, end, text in theirs]
    assert len(theirs) == 40


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("empty_subtitles", ""),
        ("empty_subtitles", "\ufeff \n\n"),
        ("not_subtitles", "once upon a time"),
        ("not_subtitles", "WEBVTT\n\n"),
        ("damaged_subtitles", GOOD + "\n3\n00:00:0x,000 --> 00:00:09,000\nBye.\n"),
        ("negative_time", "1\n-00:00:01,000 --> 00:00:02,000\nHi\n"),
        ("ends_before_it_starts", cue("03,000", "02,000")),
        ("nothing_in_subtitles", cue("01,000", "02,000", "[door slams]") + cue("03,000", "04,000", "♪ la la ♪")),
        ("nothing_in_subtitles", cue("01,000", "02,000", "")),
        ("subtitle_too_long", cue("01,000", "02,000", "word " * 2000)),
        ("unknown_encoding", bytes([0x81, 0x8D, 0x00, 0x8F] * 50)),
        ("too_many_subtitles", cue("01,000", "02,000") * 100_001),
        ("subtitles_too_large", " " * 10_000_001),
    ],
)
def test_what_cannot_be_mended_is_refused_with_a_sentence(code, text):
    with pytest.raises(CustomerError) as caught:
        read(text)
    assert caught.value.code == code
    assert is_sentence(caught.value.message), caught.value.message


def test_subtitles_of_another_recording_are_refused():
    with pytest.raises(CustomerError) as caught:
        read(GOOD, duration_ms=500)
    assert caught.value.code == "subtitles_of_another_recording"
    assert is_sentence(caught.value.message)


def test_what_can_be_mended_is_mended_and_told():
    text = cue("05,000", "06,000", "Third.") + cue("01,000", "04,000", "First.") + cue("03,000", "03,500", "(sighs)")
    imported = read(text + cue("03,500", "04,500", "Second.") + cue("07,000", "08,000", " "), duration_ms=5500)
    assert shown(imported) == [(1000, 4000, "First."), (3500, 4500, "Second."), (5000, 5500, "Third.")]
    assert sorted(codes(imported)) == sorted(
        ["empty_left_out", "no_speech_left_out", "subtitles_unsorted", "subtitles_past_end", "subtitles_overlap"]
    )
    assert all(is_sentence(note.message) for note in imported.notes), imported.notes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_what_they_are(encoding):
    assert shown(read(GOOD.encode(encoding))) == shown(read(GOOD))
    assert codes(read(GOOD.encode(encoding))) == []


def test_an_encoding_that_does_not_say_what_it_is_is_guessed_and_told():
    said = "Él vivía en una pequeña ciudad, ¿no? Mañana será otro día, señora, y el niño también vendrá."
    imported = read(cue("01,000", "02,000", said).encode("cp1252"))
    assert imported.lines[0].text == said
    assert codes(imported) == ["encoding_guessed"]


def test_line_ends_missing_numbers_missing_blanks_and_blanks_inside():
    assert shown(read(GOOD.replace("\n", "\r\n"))) == shown(read(GOOD))
    assert shown(read(GOOD.replace("\n", "\r"))) == shown(read(GOOD))
    assert shown(read(GOOD.replace("1\n", "", 1).replace("\n2\n", "\n"))) == shown(read(GOOD))
    assert shown(read(GOOD.replace("Good", "Good\n\n"))) == shown(read(GOOD))
    assert [line.text for line in read(cue("01,000", "02,000", "42") + cue("02,000", "03,000", "43")).lines] == [
        "42",
        "43",
    ]


@pytest.mark.parametrize("part", ["\n", "<v ", "{\\", "00:", "("])
def test_a_file_made_to_take_time_is_refused_at_its_length(part):
    """Where `srt.parse` takes hours over two megabytes of line ends."""
    with pytest.raises(CustomerError, match=r"characters|nothing that is spoken"):
        read(cue("01,000", "02,000", part * 1_000_000))
