"""Subtitles that a customer brings (SubRip, WebVTT), as lines. What can be mended is mended and told; the rest is
refused with a sentence that names the subtitle. Files that we write are `audiomill.transcripts.formats`'.

A reader of our own, linear in the file's size (decision 39): customers' text is read beside our keys.
"""

import codecs
import html
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes

from audiomill.errors import BadInput, LimitExceeded
from audiomill.lines.document import LONGEST_TEXT, MOST_LINES, Line
from audiomill.transcripts.plain import plain

MOST_BYTES = 10_000_000
"""Subtitles of three hours have some 200 kB."""

_MARKUP = 4
"""How much longer a text may be with its markup; looked at first, for patterns take their time over megabytes."""

_MISSED = 0.5
"""When more than this share of the cues lies behind the recording's end, they are another recording's."""

# SubRip has a comma before the milliseconds, WebVTT a point and hours that may be left out; readers take either.
# Nothing here may match the same blanks twice: over megabytes of them that takes hours, with every thread held up.
_CLOCK = r"(?:(-)\s*)?(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s<>]{0,100})?\s([^<>]{1,200})>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>|<\d[\d:.]{0,20}>|\{\\[^{}]{0,300}\}")
_NO_CHARACTER = re.compile(r"&#\d{9,};?")
"""No character has such a number, and Python refuses to read one of some thousand digits."""

_NO_SPEECH = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|[♪♫#][^♪♫]*[♪♫#]|[♪♫\s]*")
_DASH = re.compile(r"^\s*[-–—]\s+")  # dialogue: each on a line of its own


@dataclass(frozen=True)
class Note:
    """Something that was mended, or left out: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Imported:
    """The lines, in order of their starts, and what to know of them."""

    lines: tuple[Line, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class _Cue:
    number: int
    start_ms: int
    end_ms: int
    text: str
    speaker: str | None


def read_subtitles(data: bytes, *, duration_ms: int | None = None) -> Imported:
    """The lines of an .srt or .vtt file; which of them it is shows in its first line.

    duration_ms: of the recording that they belong to; what lies behind it is left out, or cut, and told. Text stands in
    `text`; whoever imports a translation moves it.

    Notes: `encoding_guessed`, `subtitles_unsorted`, `subtitles_overlap`, `subtitles_past_end`, `no_speech_left_out`,
    `empty_left_out`. Raises LimitExceeded (`subtitles_too_large`, `too_many_subtitles`), BadInput (`empty_subtitles`,
    `unknown_encoding`, `not_subtitles`, `damaged_subtitles`, `negative_time`, `ends_before_it_starts`,
    `subtitle_too_long`, `nothing_in_subtitles`, `subtitles_of_another_recording`).
    """
    if len(data) > MOST_BYTES:
        raise LimitExceeded(
            f"The subtitles are {len(data) / 1e6:.1f} MB large; at most {MOST_BYTES / 1e6:.0f} MB are taken.",
            code="subtitles_too_large",
        )
    notes: list[Note] = []
    text = _decoded(data, notes)
    if not text.strip():
        raise BadInput("The subtitles are empty. Send a file with at least one subtitle.", code="empty_subtitles")
    cues = _with_speech(_cues(text), notes)
    cues = _in_time(cues, duration_ms, notes)
    lines = tuple(
        Line(id=f"L{at:05d}", speaker=cue.speaker, start_ms=cue.start_ms, end_ms=cue.end_ms, text=cue.text)
        for at, cue in enumerate(cues, start=1)
    )
    return Imported(lines, tuple(notes))


def _decoded(data: bytes, notes: list[Note]) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    ):  # fmt: skip
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        text = data.decode("utf-8")
        if "\0" not in text:
            return text
    except UnicodeDecodeError:
        pass
    best = from_bytes(data[:200_000]).best()
    if best is None or "\0" in str(best):
        raise BadInput(
            "The subtitles are written in a character encoding that cannot be told. Save the file as UTF-8 and send it "
            "again.",
            code="unknown_encoding",
        )
    notes.append(
        Note(
            "encoding_guessed",
            f"The subtitles are not in UTF-8 and were read as {best.encoding}; look whether accents are right.",
        )
    )
    return data.decode(best.encoding, errors="replace")


def _cues(text: str) -> list[_Cue]:
    """Every cue, in the file's order. A timing line begins one; its text goes to the next timing line or blank line
    that is followed by one (or by the number before it): some files have blank lines inside a subtitle."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    vtt = lines[0].lstrip("\ufeff").startswith("WEBVTT")
    timings = [at for at, line in enumerate(lines) if "-->" in line]
    if not timings:
        raise BadInput(
            "The file is no subtitles that can be read here: no line in it has times (00:00:01,000 --> 00:00:02,000). "
            "Send SubRip (.srt) or WebVTT (.vtt).",
            code="not_subtitles",
        )
    if len(timings) > MOST_LINES:
        raise LimitExceeded(
            f"The file has {len(timings):,} subtitles; at most {MOST_LINES:,} are taken.", code="too_many_subtitles"
        )
    found = []
    for number, at in enumerate(timings, start=1):
        stop = timings[number] if number < len(timings) else len(lines)
        found.append(_cue(number, lines[at], _body(lines, at + 1, stop, vtt=vtt, last=number == len(timings))))
    return found


def _body(lines: list[str], start: int, stop: int, *, vtt: bool, last: bool) -> list[str]:
    """The text lines of a cue: without the number or name of the next; in WebVTT without what follows a blank line."""
    body = lines[start:stop]
    if vtt:  # there a blank line always ends a cue; notes and styles may follow
        blank = next((at for at, line in enumerate(body) if not line.strip()), None)
        if blank is not None:
            return body[:blank]
        return body if last else body[:-1]
    if not last and body and body[-1].strip().isdecimal() and (len(body) == 1 or not body[-2].strip()):
        body = body[:-1]
    return body


def _cue(number: int, timing: str, body: list[str]) -> _Cue:
    match = _TIMING.fullmatch(timing)
    if match is None:
        raise BadInput(
            f"The times of subtitle {number} cannot be read. They look like 00:00:01,000 --> 00:00:02,000.",
            code="damaged_subtitles",
        )
    parts = match.groups()
    start, end = _milliseconds(parts[:5]), _milliseconds(parts[5:])
    if start < 0 or end < 0:
        raise BadInput(
            f"Subtitle {number} lies before the start of the recording: its time is negative. Shift the subtitles.",
            code="negative_time",
        )
    if end < start:
        raise BadInput(
            f"Subtitle {number} ends before it starts. Put its times right and send the file again.",
            code="ends_before_it_starts",
        )
    raw = "\n".join(body)
    if len(raw) > _MARKUP * LONGEST_TEXT:
        raise _too_long(number, len(raw))
    voice = _VOICE.search(raw)
    shown = [_DASH.sub("", line) for line in _unescaped(_TAG.sub("", raw)).split("\n")]
    text = plain(" ".join(shown))
    if len(text) > LONGEST_TEXT:
        raise _too_long(number, len(text))
    speaker = plain(_unescaped(voice[1]))[:64] or None if voice else None
    return _Cue(number, start, end, text, speaker)


def _unescaped(text: str) -> str:
    return html.unescape(_NO_CHARACTER.sub("\ufffd", text))


def _too_long(number: int, characters: int) -> BadInput:
    return BadInput(
        f"Subtitle {number} has {characters:,} characters; at most {LONGEST_TEXT:,} are spoken in one. Split it.",
        code="subtitle_too_long",
    )


def _milliseconds(parts: tuple[str | None, ...]) -> int:
    sign, hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    value = whole * 1000 + int((fraction or "0").ljust(3, "0"))
    return -value if sign and value else value


def _with_speech(cues: list[_Cue], notes: list[Note]) -> list[_Cue]:
    """Without those that nobody speaks: empty ones, `[door slams]`, songs between notes."""
    spoken = [cue for cue in cues if any(char.isalnum() for char in cue.text)]
    if dropped := len(cues) - len(spoken):
        notes.append(Note("empty_left_out", f"{_count(dropped)} without text, left out."))
    heard = [cue for cue in spoken if not _NO_SPEECH.fullmatch(cue.text)]
    if dropped := len(spoken) - len(heard):
        said = f"{_count(dropped)} with no speech but a description of sound or a song, left out."
        notes.append(Note("no_speech_left_out", said))
    if not heard:
        raise BadInput("The subtitles hold nothing that is spoken.", code="nothing_in_subtitles")
    return heard


def _in_time(cues: list[_Cue], duration_ms: int | None, notes: list[Note]) -> list[_Cue]:
    ordered = sorted(cues, key=lambda cue: (cue.start_ms, cue.end_ms))
    if [cue.number for cue in ordered] != [cue.number for cue in cues]:
        notes.append(Note("subtitles_unsorted", "The subtitles are not in the order of their times; they were sorted."))
    if duration_ms is not None:
        inside = [cue for cue in ordered if cue.start_ms < duration_ms]
        if len(ordered) - len(inside) > _MISSED * len(ordered):
            raise BadInput(
                f"{len(ordered) - len(inside)} of {len(ordered)} subtitles lie behind the end of the recording, which "
                f"is {duration_ms / 1000:.1f} seconds long. Send those of this recording.",
                code="subtitles_of_another_recording",
            )
        beyond = len(ordered) - len(inside) + sum(cue.end_ms > duration_ms for cue in inside)
        if beyond:
            said = f"{_count(beyond)} past the end of the recording, cut to it or left out."
            notes.append(Note("subtitles_past_end", said))
        ordered = [
            _Cue(cue.number, cue.start_ms, min(cue.end_ms, duration_ms), cue.text, cue.speaker) for cue in inside
        ]
    overlaps, latest = 0, 0
    for cue in ordered:
        overlaps += cue.start_ms < latest
        latest = max(latest, cue.end_ms)
    if overlaps:
        said = f"{_count(overlaps)} beginning while another is still shown; they are spoken one after the other."
        notes.append(Note("subtitles_overlap", said))
    return ordered


def _count(number: int) -> str:
    return "There is 1 subtitle" if number == 1 else f"There are {number:,} subtitles"
