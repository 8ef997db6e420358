"""The checks of a dub against the recording that it is of. All of them warn; none rejects."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from audiomill.audio import Audio, mono, resampled
from audiomill.audio.blocks import blocks
from audiomill.engines.voice_activity import SAMPLE_RATE_HZ, speech_spans
from audiomill.lines.document import Lines
from audiomill.lines.fitting import length_ms
from audiomill.quality import Check
from audiomill.stages.mix.mixing import Dub

MOST_LOUDNESS_LU = 1.0
MOST_BACKGROUND_DB = 1.0
"""Beside the lines the level may differ by so much. Both from the order of things: nobody hears less."""

LEAST_COVERED, LEAST_SPOKEN = 0.9, 0.5
"""Shares of the speech that must have a line, and of the lines' times in which somebody must speak. Subtitles begin
early and end late, and a voice detector misses a tenth of quiet speech: our choice."""

MOST_MEDIAN_DRIFT_MS, MOST_DRIFT_MS = 250, 1500
"""ITU-R BT.1359: sound that is 185 ms late is noticed; a line that is a second and a half late answers another. Our
choice."""

_EDGE_SECONDS = 0.3
"""Speech so near to a line belongs to it."""

_STEP_MS = 10


def judge_dub(dub: Dub, *, voice: Audio, background: Audio) -> list[Check]:
    """Every check of a dub. voice, background: of the original."""
    seconds = voice.seconds
    spoken = _flags(_speech(voice), seconds)
    lines = [(line.start_ms, line.end_ms) for line in dub.lines.lines]
    planned = _flags(lines, seconds)
    near = _flags([(start - 1000 * _EDGE_SECONDS, end + 1000 * _EDGE_SECONDS) for start, end in lines], seconds)
    return [
        undubbed(spoken, near),
        unprompted(spoken, planned),
        *line_checks(dub.lines),
        background_kept(dub, background),
        same_loudness(dub),
    ]


def undubbed(spoken: NDArray[np.bool_], near: NDArray[np.bool_]) -> Check:
    """Does all speech have a line? `value` and `limit`: share of the speech, in time."""
    share = float((spoken & near).sum() / spoken.sum()) if spoken.any() else 1.0
    missing = float((spoken & ~near).sum()) * _STEP_MS / 1000
    reason = f"{missing:.1f} seconds in which somebody seems to speak have no line, so nothing is heard there."
    return Check("speech_without_dub", share >= LEAST_COVERED, share, LEAST_COVERED, _if(share < LEAST_COVERED, reason))


def unprompted(spoken: NDArray[np.bool_], planned: NDArray[np.bool_]) -> Check:
    """Does somebody speak where the lines are? `value` and `limit`: share of the lines' times."""
    share = float((spoken & planned).sum() / planned.sum()) if planned.any() else 1.0
    silent = f"In {1 - share:.0%} of the time of the lines nobody seems to speak."
    reason = f"{silent} Look whether they belong to this recording."
    return Check("dub_without_speech", share >= LEAST_SPOKEN, share, LEAST_SPOKEN, _if(share < LEAST_SPOKEN, reason))


def line_checks(lines: Lines) -> list[Check]:
    """Is each line whole, alone, and in time? `value`: how many are not; for drift, milliseconds."""
    cut = sum(
        (line.actual_end_ms or 0) - (line.actual_start_ms or 0) < length_ms(line.spoken_ms or 0, line.rate or 1.0)
        for line in lines.lines
    )
    ends = [line.actual_end_ms or 0 for line in lines.lines]
    overlaps = sum((line.actual_start_ms or 0) < end for line, end in zip(lines.lines[1:], ends, strict=False))
    median, worst = lines.drift()
    late = f"a line is heard {worst / 1000:.1f} seconds off its time, half of them {median} ms or more"
    said = f"The translation takes longer to speak than the original: {late}. Shorten the lines that drift."
    return [
        Check("lines_cut_off", not cut, cut, 0, _if(cut > 0, f"{cut} lines are cut off.")),
        Check("lines_overlap", not overlaps, overlaps, 0, _if(overlaps > 0, f"{overlaps} lines overlap.")),
        Check(
            "drift_median_ms", median <= MOST_MEDIAN_DRIFT_MS, median, MOST_MEDIAN_DRIFT_MS,
            _if(median > MOST_MEDIAN_DRIFT_MS, said),
        ),
        Check("drift_worst_ms", worst <= MOST_DRIFT_MS, worst, MOST_DRIFT_MS, _if(worst > MOST_DRIFT_MS, said)),
    ]  # fmt: skip


def background_kept(dub: Dub, background: Audio) -> Check:
    """Is the background what it was where no line is heard? `value` and `limit`: dB between the two's levels."""
    rate = background.sample_rate_hz
    now = before = 0.0
    for first, last in _between(dub.lines, int(background.samples.shape[1]), rate):
        for heard, was in zip(
            blocks(dub.audio, first=first, last=last), blocks(background, first=first, last=last), strict=True
        ):
            now += float(np.sum(np.square(heard, dtype=np.float64)))
            before += float(np.sum(np.square(was, dtype=np.float64)))
    off = abs(10 * np.log10(now / before)) if now > 0 and before > 0 else 0.0
    reason = f"Where no line is heard the background is {off:.1f} dB louder or quieter than it was."
    passed = bool(off <= MOST_BACKGROUND_DB)
    return Check("background_kept", passed, float(off), MOST_BACKGROUND_DB, _if(not passed, reason))


def same_loudness(dub: Dub) -> Check:
    """Is it as loud as the original? `value` and `limit`: LU between them (EBU R 128, integrated)."""
    off = abs(dub.loudness.integrated_lufs - dub.original.integrated_lufs)
    if not np.isfinite(off):
        off = 0.0  # too short, or too quiet, to be measured
    reason = f"The dub is {off:.1f} LU louder or quieter than the original."
    return Check("loudness", off <= MOST_LOUDNESS_LU, off, MOST_LOUDNESS_LU, _if(off > MOST_LOUDNESS_LU, reason))


def _speech(voice: Audio) -> Iterator[tuple[float, float]]:
    samples = resampled(mono(voice), SAMPLE_RATE_HZ).samples[0]
    for span in speech_spans(samples, padding_seconds=0.05):
        yield 1000 * span.start / SAMPLE_RATE_HZ, 1000 * span.end / SAMPLE_RATE_HZ


def _flags(spans_ms: Iterable[tuple[float, float]], seconds: float) -> NDArray[np.bool_]:
    """A flag for each hundredth of a second: three hours are a megabyte."""
    flags = np.zeros(int(seconds * 1000 / _STEP_MS) + 1, dtype=np.bool_)
    for start, end in spans_ms:
        flags[max(0, round(start / _STEP_MS)) : max(0, round(end / _STEP_MS))] = True
    return flags


def _between(lines: Lines, length: int, rate: int) -> Iterator[tuple[int, int]]:
    """Samples where no line is heard."""
    free = 0
    for line in lines.lines:
        start, end = (line.actual_start_ms or 0) * rate // 1000, -(-(line.actual_end_ms or 0) * rate // 1000)
        if start > free:
            yield free, min(start, length)
        free = max(free, end)
    if free < length:
        yield free, length


def _if(failed: bool, reason: str) -> str | None:
    return reason if failed else None
