"""Transcripts as files: txt, srt, vtt, tsv, json. UTF-8, LF, the same bytes for the same transcript.

Times are rounded to milliseconds, confidences to 4 decimals. All formats show the same text (see `plain.py`).
"""

import json
import math
import re
from collections.abc import Callable

from audiomill.transcripts.cues import cues, milliseconds
from audiomill.transcripts.plain import plain
from audiomill.transcripts.transcript import Segment, Transcript, Word

_ARROW = re.compile("--+>")


def render(transcript: Transcript, transcript_format: str) -> bytes:
    """The file of a transcript. Raises ValueError for a format that is not one of FORMATS."""
    try:
        write = _WRITERS[transcript_format]
    except KeyError:
        raise ValueError(f"no transcript format {transcript_format!r}; there are {', '.join(FORMATS)}") from None
    return write(transcript).encode()


def _txt(transcript: Transcript) -> str:
    """A line per segment."""
    return "".join(f"{text}\n" for segment in transcript.segments if (text := plain(segment.text)))


def _srt(transcript: Transcript) -> str:
    """SubRip, which has no escapes: an arrow in the text is broken up, for readers look for it to find the cues."""
    blocks = []
    for number, cue in enumerate(cues(transcript), start=1):
        text = _ARROW.sub("->", "\n".join(cue.lines))
        blocks.append(f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    """WebVTT (W3C): `&`, `<` and `>` are escaped, and with `>` the arrow that may not stand in a cue."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(blocks)


def _tsv(transcript: Transcript) -> str:
    """A row per segment, times in milliseconds."""
    rows = ["start_ms\tend_ms\ttext\n"]
    for segment in transcript.segments:
        if text := plain(segment.text):
            start = milliseconds(segment.start_seconds)
            rows.append(f"{start}\t{max(start, milliseconds(segment.end_seconds))}\t{text}\n")
    return "".join(rows)


def _json(transcript: Transcript) -> str:
    """Everything: segments, words with times and confidence, language."""
    document = {
        "language": plain(transcript.language),
        "language_probability": _share(transcript.language_probability),
        "duration_seconds": _seconds(transcript.duration_seconds),
        "confidence": _share(transcript.confidence),
        "text": " ".join(text for segment in transcript.segments if (text := plain(segment.text))),
        "segments": [
            {
                "start_seconds": _seconds(segment.start_seconds),
                "end_seconds": _seconds(segment.end_seconds),
                "text": plain(segment.text),
                "words": [_word(word) for word in segment.words],
            }
            for segment in transcript.segments
        ],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def parse_json(data: bytes) -> Transcript:
    """The transcript of a file that `render` made as `json`. Raises ValueError, KeyError or TypeError for any other."""
    document = json.loads(data)
    return Transcript(
        segments=tuple(
            Segment(
                segment["text"],
                segment["start_seconds"],
                segment["end_seconds"],
                tuple(Word(**word) for word in segment["words"]),
            )
            for segment in document["segments"]
        ),
        language=document["language"],
        language_probability=document["language_probability"],
        duration_seconds=document["duration_seconds"],
        confidence=document.get("confidence"),  # what was stored earlier has none
    )


def _word(word: Word) -> dict[str, str | float | None]:
    return {
        "text": plain(word.text),
        "start_seconds": _seconds(word.start_seconds),
        "end_seconds": _seconds(word.end_seconds),
        "confidence": _share(word.confidence),
    }


def _seconds(seconds: float) -> float:
    return milliseconds(seconds) / 1000


def _share(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), 4) + 0.0  # never -0.0


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


_WRITERS: dict[str, Callable[[Transcript], str]] = {"txt": _txt, "srt": _srt, "vtt": _vtt, "tsv": _tsv, "json": _json}
FORMATS = tuple(_WRITERS)
"""The formats, by the ending of their files."""
