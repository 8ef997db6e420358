"""Transcript files, read back by real parsers: odd text, odd times, long segments, nothing at all."""

import json
import re
import unicodedata
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from typing import get_args

import pytest
import srt
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st

from audiomill.catalogue.transcribe import TranscriptFormat
from audiomill.transcripts import Segment, Transcript, Word
from audiomill.transcripts.cues import FLOOR_MS, GAP_MS, LINE_COLUMNS, MAX_MS, cues
from audiomill.transcripts.formats import FORMATS, render
from audiomill.transcripts.plain import columns, pieces, plain


def transcript(*segments: Segment, duration: float = 60.0) -> Transcript:
    return Transcript(segments, "en", 0.98765, duration)


def spoken(text: str, *, start: float = 0.0, step: float = 0.4) -> Segment:
    """A segment with word times, one word every `step` seconds."""
    words = tuple(
        Word(word, start + at * step, start + at * step + step * 0.9, 0.5) for at, word in enumerate(text.split())
    )
    return Segment(text, start, start + len(words) * step, words)


def read_srt(content: bytes) -> list[tuple[int, int, str]]:
    found = list(srt.parse(content.decode(), ignore_errors=False))
    assert [cue.index for cue in found] == list(range(1, len(found) + 1))
    ms = timedelta(milliseconds=1)
    return [(cue.start // ms, cue.end // ms, cue.content) for cue in found]


def read_vtt(content: bytes) -> list[tuple[int, int, str]]:
    assert content.startswith(b"WEBVTT\n")
    found = webvtt.from_buffer(StringIO(content.decode())).captions
    return [(vtt_ms(cue.start), vtt_ms(cue.end), cue.raw_text) for cue in found]


def vtt_ms(clock: str) -> int:
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)


def shown(text: str) -> str:
    """What a viewer sees of WebVTT text."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_every_format_of_the_catalogue_is_written() -> None:
    assert set(FORMATS) == set(get_args(TranscriptFormat))
    with pytest.raises(ValueError, match="there are txt, srt"):
        render(transcript(), "docx")


def test_the_files_of_a_small_transcript() -> None:
    small = Transcript(
        (
            Segment(" Hello, <b>R&D</b>. ", 0.0, 1.5, (Word("Hello", 0.0, 0.5, 0.91234), Word("<b>R&D</b>", 0.6, 1.5))),
            Segment("Tab\there\nand --> there", 2.0, 3.0),
        ),
        "en",
        None,
        3.5,
    )
    assert render(small, "txt") == b"Hello, <b>R&D</b>.\nTab here and --> there\n"
    assert render(small, "tsv") == (
        b"start_ms\tend_ms\ttext\n0\t1500\tHello, <b>R&D</b>.\n2000\t3000\tTab here and --> there\n"
    )
    assert render(small, "srt") == (
        b"1\n00:00:00,000 --> 00:00:01,500\nHello, <b>R&D</b>.\n\n"
        b"2\n00:00:02,000 --> 00:00:03,000\nTab here and -> there\n"
    )
    assert render(small, "vtt") == (
        b"WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello, &lt;b&gt;R&amp;D&lt;/b&gt;.\n\n"
        b"00:00:02.000 --> 00:00:03.000\nTab here and --&gt; there\n"
    )
    document = json.loads(render(small, "json"))
    assert document["language_probability"] is None
    assert document["segments"][0]["words"][0] == {
        "text": "Hello",
        "start_seconds": 0.0,
        "end_seconds": 0.5,
        "confidence": 0.9123,
    }


def test_nothing_said_gives_valid_files() -> None:
    for nothing in (transcript(duration=0.0), transcript(Segment(" \n\x00\ufeff ", 0.0, 1.0))):
        assert render(nothing, "txt") == b""
        assert read_srt(render(nothing, "srt")) == []
        assert read_vtt(render(nothing, "vtt")) == []
        assert render(nothing, "tsv") == b"start_ms\tend_ms\ttext\n"
        assert json.loads(render(nothing, "json"))["text"] == ""


def test_a_long_segment_is_cut_at_words() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    found = cues(transcript(spoken(text)))
    assert " ".join(line for cue in found for line in cue.lines) == text
    assert len(found) > 5
    for cue in found[:-1]:
        assert cue.end_ms - cue.start_ms >= 833
    # Each cue begins when its first word does.
    for cue in found:
        assert cue.start_ms == int(cue.lines[0].split()[0].removeprefix("word")) * 400


def test_a_long_segment_without_word_times_is_spread() -> None:
    text = "Lorem ipsum dolor sit amet. " * 20
    found = cues(transcript(Segment(text, 10.0, 40.0)))
    assert " ".join(line for cue in found for line in cue.lines) == text.strip()
    assert found[0].start_ms == 10_000
    assert 38_000 < found[-1].end_ms <= 41_000


def test_a_new_sentence_begins_a_new_cue_where_two_lines_are_begun() -> None:
    found = cues(
        transcript(spoken("This sentence is long enough to need a second line here. And this follows.", step=0.2))
    )
    assert [cue.lines[0] for cue in found] == ["This sentence is long enough", "And this follows."]


def test_a_pause_ends_a_cue() -> None:
    segment = Segment("one two", 0.0, 20.0, (Word("one", 0.0, 0.5), Word("two", 9.0, 9.5)))
    assert [(cue.start_ms, cue.lines) for cue in cues(transcript(segment))] == [(0, ("one",)), (9000, ("two",))]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("你好，世界。", ["你好", "世界"], "你好，世界。"),
        ("สวัสดีครับ", ["สวัสดี", "ครับ"], "สวัสดีครับ"),
        ('"Well," he said - no.', ["Well", "he", "said", "no"], '"Well," he said - no.'),
        ("I have 5 cats.", ["I", "have", "five", "cats"], "I have five cats"),
        ("Ça va ? Oui", ["Ça", "va", "Oui"], "Ça va ? Oui"),
        ("", ["only", "words"], "only words"),
    ],
)
def test_words_are_shown_as_the_text_has_them(text: str, words: list[str], expected: str) -> None:
    timed = tuple(Word(word, float(at), at + 0.9) for at, word in enumerate(words))
    (cue,) = cues(transcript(Segment(text, 0.0, 5.0, timed)))
    assert cue.lines == (expected,)


def test_writing_without_spaces_is_cut_between_characters() -> None:
    thai = "ก็ที่นี่" * 30
    flags = "🇩🇪" * 40 + "👩‍👩‍👧‍👦" * 30 + "👍🏽" * 30
    for text in (thai, flags, "漢" * 100, "x" * 200):
        parts = pieces(text, LINE_COLUMNS)
        assert "".join(parts) == text
        for part in parts:
            assert columns(part) <= LINE_COLUMNS
            assert unicodedata.category(part[0]) not in {"Mn", "Mc", "Me"}
            assert part[0] not in "\u200d\U0001f3fd"
            assert sum("\U0001f1e6" <= char <= "\U0001f1ff" for char in part) % 2 == 0


def test_overlapping_and_backward_times_are_put_in_order() -> None:
    mixed = transcript(
        Segment("three", 5.0, 4.0),
        Segment("one", 0.0, 9.0),
        Segment("two", 0.01, 0.01),
        Segment("four", 5.0, 100.0),
        Segment("five", float("nan"), float("inf")),
        Segment("six", -3.0, -1.0),
    )
    check_times([(cue.start_ms, cue.end_ms) for cue in cues(mixed)])
    assert [cue.lines[0] for cue in cues(mixed)] == ["one", "five", "six", "two", "three", "four"]
    for transcript_format in FORMATS:
        render(mixed, transcript_format)


def check_times(times: list[tuple[int, int]]) -> None:
    for start, end in times:
        assert FLOOR_MS <= end - start <= MAX_MS
    for (_, end), (start, _) in pairwise(times):
        assert start - end >= GAP_MS


odd_text = st.one_of(
    st.text(max_size=120),
    st.text(alphabet="ab -><&\n\t\r\u2028\u00a0\ufeff\x00\x1b\x85.1:,0", max_size=60),
    st.sampled_from(
        [
            "1\n00:00:01,000 --> 00:00:02,000\nforged",
            "WEBVTT",
            "NOTE a comment",
            "STYLE",
            "a --> b",
            "<v Roger>hi</v> & &lt;",
            "مرحبا بالعالم",
            "שלום \u202eabc\u202c",
            "😀👩‍👩‍👧‍👦🇩🇪" * 10,
            "\ud800 lone",
            "42",
            "-->",
            "a ----> b",
            "\u200b",
        ]
    ),
)
odd_seconds = st.floats(-10, 40_000) | st.sampled_from([0.0, -0.0, float("nan"), float("inf")])
words = st.builds(Word, odd_text, odd_seconds, odd_seconds, st.none() | st.floats(0, 1))
segments = st.builds(Segment, odd_text, odd_seconds, odd_seconds, st.lists(words, max_size=6).map(tuple))
transcripts = st.builds(
    Transcript, st.lists(segments, max_size=6).map(tuple), st.just("en"), st.none() | st.floats(0, 1), odd_seconds
)


@given(transcripts)
@example(transcript(Segment("a" + "\u00a0" * 100 + "b", 0.0, 1.0)))
@example(transcript(Segment("a \x00 \x00 b", 0.0, 1.0), Segment("-\x00->", 1.0, 2.0)))
def test_any_transcript_is_read_back(whole: Transcript) -> None:
    expected = cues(whole)
    check_times([(cue.start_ms, cue.end_ms) for cue in expected])
    for cue in expected:
        assert 1 <= len(cue.lines) <= 2
        for line in cue.lines:
            assert line.strip()
            assert columns(line) <= LINE_COLUMNS
    read = read_srt(render(whole, "srt"))
    assert read == [(cue.start_ms, cue.end_ms, re.sub("-+>", "->", "\n".join(cue.lines))) for cue in expected]
    assert render(whole, "srt").count(b"-->") == len(expected)
    vtt = render(whole, "vtt")
    assert [(start, end, shown(text)) for start, end, text in read_vtt(vtt)] == [
        (cue.start_ms, cue.end_ms, "\n".join(cue.lines)) for cue in expected
    ]
    assert vtt.count(b"-->") == len(expected)
    texts = [plain(segment.text) for segment in whole.segments if plain(segment.text)]
    assert render(whole, "txt").decode().split("\n")[:-1] == texts
    rows = [row.split("\t") for row in render(whole, "tsv").decode().split("\n")[1:-1]]
    assert [row[2] for row in rows] == texts
    assert all(0 <= int(row[0]) <= int(row[1]) for row in rows)
    document = json.loads(render(whole, "json"))
    assert len(document["segments"]) == len(whole.segments)
    for transcript_format in FORMATS:
        content = render(whole, transcript_format)
        assert content == render(whole, transcript_format)
        assert b"\r" not in content
        assert b"\x00" not in content


def test_ten_hours_and_more_keep_their_clock() -> None:
    late = transcript(Segment("late", 360_000.0, 360_001.0), duration=360_002.0)
    assert b"100:00:00,000 --> 100:00:01,000" in render(late, "srt")
    assert read_srt(render(late, "srt"))[0][0] == 360_000_000
    assert len(read_vtt(render(late, "vtt"))) == 1
