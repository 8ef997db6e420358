"""Who speaks each line of a dub, and how high that voice is, heard in the voice that was separated."""

import statistics

import numpy as np

from audiomill.audio import Audio
from audiomill.audio.blocks import let_go
from audiomill.audio.pitch import pitches_hz
from audiomill.lines.document import Line, Lines
from audiomill.lines.speakers import speakers_by_pitch

_HEARD_SECONDS = 6.0
"""Of each line at most: its pitch is known by then."""

_MOST_TIMES_HEARD = 2.0
"""The whole recording, in all: subtitles may say of a hundred thousand lines that each lasts to its end."""

_LEAST_VOICED_FRAMES = 10
"""A tenth of a second: a pitch of less is chance."""


def with_speakers(lines: Lines, voice: Audio) -> Lines:
    """The lines with their speakers and these speakers' pitch. Who is named, in subtitles, stays that."""
    pitches: list[float | None] = []
    left_seconds = _MOST_TIMES_HEARD * voice.seconds
    for line in lines.lines:
        seconds = min((line.end_ms - line.start_ms) / 1000, _HEARD_SECONDS)
        if seconds > left_seconds:
            pitches.append(None)
            continue
        pitches.append(line_pitch_hz(line, voice))
        left_seconds -= seconds
    found = speakers_by_pitch(pitches)
    speakers = [line.speaker or one for line, one in zip(lines.lines, found, strict=True)]
    of_speaker: dict[str, list[float]] = {speaker: [] for speaker in speakers}
    for speaker, pitch in zip(speakers, pitches, strict=True):
        if pitch is not None:
            of_speaker[speaker].append(pitch)
    told = tuple(
        line.model_copy(update={"speaker": speaker, "speaker_hz": _median(of_speaker[speaker])})
        for line, speaker in zip(lines.lines, speakers, strict=True)
    )
    return lines.model_copy(update={"lines": told})


def line_pitch_hz(line: Line, voice: Audio) -> float | None:
    """The median pitch of what is heard while a line is spoken in the source; None where nothing is voiced."""
    first = line.start_ms * voice.sample_rate_hz // 1000
    last = min(line.end_ms * voice.sample_rate_hz // 1000, first + round(_HEARD_SECONDS * voice.sample_rate_hz))
    heard = voice.samples[:, first:last]
    frames = pitches_hz(Audio(np.array(heard), voice.sample_rate_hz))
    let_go(heard)
    voiced = frames[frames > 0]
    return float(np.median(voiced)) if len(voiced) >= _LEAST_VOICED_FRAMES else None


def _median(pitches: list[float]) -> float | None:
    return round(statistics.median(pitches), 1) if pitches else None
