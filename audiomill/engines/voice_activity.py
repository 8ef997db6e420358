"""Where in a recording somebody speaks, found by the silero model that faster-whisper carries (RTF 0.003).

Belongs here: spans of speech, cut to a length that an engine can bear. Not here: what is said, and verdicts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiomill.audio import Audio
from audiomill.audio.blocks import let_go

SAMPLE_RATE_HZ = 16_000
"""The rate of silero's model and of every recogniser here."""

WINDOW_SECONDS = 120.0
"""Looked at in one piece: the model takes some 200 MB for it, however long the recording is."""


WIDEST_PAUSE_SECONDS = 2.0
"""Kept within a piece that holds several utterances: our choice, what silero's own default takes for a pause."""

LEAD_IN_SECONDS = 0.5
"""Played to the model before what is looked at. It begins knowing nothing and takes any tone of the first quarter of a
second for a voice: of recordings without speech every third was said to hold 0.2 to 0.3 s of it."""


@dataclass(frozen=True)
class Span:
    """Samples [start, end) of a recording."""

    start: int
    end: int


def load_model() -> None:
    """Load the model, which the first call would else do: a quarter of a second. It is kept for this process's life."""
    from faster_whisper.vad import get_vad_model

    get_vad_model()


def recogniser_samples(audio: Audio) -> NDArray[np.float32]:
    """The samples [n] of a recording as the recognisers want it. Raises ValueError for another shape or rate."""
    if audio.channels != 1 or audio.sample_rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"wants mono at {SAMPLE_RATE_HZ} Hz, not {audio.channels} channels at {audio.sample_rate_hz}")
    samples: NDArray[np.float32] = audio.samples[0]
    return samples


def speech_spans(
    samples: NDArray[np.float32],
    *,
    longest_seconds: float = float("inf"),
    pause_seconds: float = 0.5,
    padding_seconds: float = 0.2,
    window_seconds: float = WINDOW_SECONDS,
) -> Iterator[Span]:
    """Spans of speech in order, found window by window. `samples`: [n] at 16 kHz, may be a memory map.

    A span ends at a pause of `pause_seconds`; one that would be longer than `longest_seconds` is cut at its last
    silence of a tenth of a second, or where it is when there is none. Each side is padded where there is room.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        max_speech_duration_s=longest_seconds,
        min_silence_duration_ms=int(pause_seconds * 1000),
        speech_pad_ms=int(padding_seconds * 1000),
    )
    window = int(window_seconds * SAMPLE_RATE_HZ)
    start = 0
    while start < len(samples):
        end = min(start + window, len(samples))
        heard = _with_lead_in(samples, start, end)
        before = len(heard) - (end - start)
        found = get_speech_timestamps(heard, options)
        let_go(samples[max(0, end - len(heard)) : end])
        spans = [
            Span(start + max(0, int(one["start"]) - before), start + int(one["end"]) - before)
            for one in found
            if int(one["end"]) > before
        ]
        # Speech that goes on at the window's end is looked at again with what follows, unless it fills the window.
        if end < len(samples) and spans and spans[-1].end >= end and spans[-1].start > start:
            end = spans.pop().start
        yield from spans
        start = end


def _with_lead_in(samples: NDArray[np.float32], start: int, end: int) -> NDArray[np.float32]:
    """Samples [start, end) behind what comes before them; behind silence where nothing does."""
    lead = int(LEAD_IN_SECONDS * SAMPLE_RATE_HZ)
    silence = np.zeros(max(0, lead - start), dtype=np.float32)
    return np.concatenate([silence, samples[max(0, start - lead) : end]])


def utterances(
    samples: NDArray[np.float32], *, longest_seconds: float, leave_out_silence: bool = True
) -> Iterator[Span]:
    """Speech in pieces of at most about `longest_seconds`, cut at pauses.

    Without `leave_out_silence` the pieces cover the whole recording: pauses belong to the piece after them, and are cut
    where they are too long.
    """
    if leave_out_silence:
        yield from speech_spans(samples, longest_seconds=longest_seconds)
        return
    longest = int(longest_seconds * SAMPLE_RATE_HZ)
    start = 0
    for span in speech_spans(samples, longest_seconds=longest_seconds):
        yield from _cut(start, span.end, longest)
        start = span.end
    yield from _cut(start, len(samples), longest)


def filled(samples: NDArray[np.float32], *, longest_seconds: float, leave_out_silence: bool = True) -> Iterator[Span]:
    """Speech in pieces of at most `longest_seconds`, as few as may be: utterances with the short pauses between them.

    Pauses of more than WIDEST_PAUSE_SECONDS are left out; without `leave_out_silence` nothing is.
    """
    longest = int(longest_seconds * SAMPLE_RATE_HZ)
    widest = int(WIDEST_PAUSE_SECONDS * SAMPLE_RATE_HZ) if leave_out_silence else longest
    start = end = -1
    # Padding may make a span a little longer than was asked for.
    for found in utterances(samples, longest_seconds=longest_seconds - 2.0, leave_out_silence=leave_out_silence):
        for span in _cut(found.start, found.end, longest):
            if start >= 0 and (span.end - start > longest or span.start - end > widest):
                yield Span(start, end)
                start = -1
            start, end = (span.start if start < 0 else start), span.end
    if start >= 0:
        yield Span(start, end)


def _cut(start: int, end: int, longest: int) -> Iterator[Span]:
    while end - start > longest:
        yield Span(start, start + longest)
        start += longest
    if end > start:
        yield Span(start, end)


def pieces(samples: NDArray[np.float32], *, longest_seconds: float) -> Iterator[Span]:
    """The whole recording in pieces of at most about `longest_seconds`, cut at pauses: for engines that can work on
    minutes at a time, but not on hours."""
    longest = int(longest_seconds * SAMPLE_RATE_HZ)
    if len(samples) <= longest:
        if len(samples):
            yield Span(0, len(samples))
        return
    start = end = 0
    for utterance in utterances(samples, longest_seconds=min(30.0, longest_seconds), leave_out_silence=False):
        if utterance.end - start > longest and end > start:
            yield Span(start, end)
            start = end
        end = utterance.end
    yield Span(start, end)
