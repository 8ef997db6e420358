"""Pictures of sound for operators: a waveform with a time axis, and a sheet of them for a batch. No words of content.

An Envelope is taken while the sound is at hand (a few kilobytes, whatever the length) and drawn later, so that a
batch's sheet does not keep its recordings.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks

MOST_ON_A_SHEET = 16

_WIDTH, _HEIGHT = 960, 200
_SHEET_WIDTH, _SHEET_HEIGHT = 480, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 24, 22
_PAPER, _INK, _GRID = (255, 255, 255), (70, 78, 92), (222, 226, 232)
_PEAK, _RMS, _CLIP = (150, 184, 228), (38, 98, 176), (206, 52, 48)
_FULL_SCALE = 0.999
_TICKS_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 36_000)


@dataclass(frozen=True, eq=False)
class Envelope:
    """The outline of a sound in `columns` equal steps: lowest, highest and RMS over all channels, float32 [columns]."""

    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]
    rms: NDArray[np.float32]
    seconds: float


def envelope(audio: Audio, columns: int = _WIDTH - _LEFT - _RIGHT) -> Envelope:
    """Outline a sound: at most `columns` steps (fewer when it has fewer samples). One pass, in blocks."""
    length = int(audio.samples.shape[1])
    count = min(columns, length)
    edges = np.linspace(0, length, count + 1).astype(np.int64)
    lowest, highest, power = np.full(count, np.inf), np.full(count, -np.inf), np.zeros(count)
    start = 0
    for block in blocks(audio):
        # Columns that this block touches, and where each begins in it.
        first, last = np.searchsorted(edges, [start, start + block.shape[1] - 1], side="right") - 1
        cuts = np.maximum(edges[first : last + 1] - start, 0)
        here = slice(first, last + 1)
        lowest[here] = np.minimum(lowest[here], np.minimum.reduceat(block.min(axis=0), cuts))
        highest[here] = np.maximum(highest[here], np.maximum.reduceat(block.max(axis=0), cuts))
        power[here] += np.add.reduceat(np.mean(np.square(block, dtype=np.float64), axis=0), cuts)
        start += block.shape[1]
    rms = np.sqrt(power / np.maximum(np.diff(edges), 1))
    return Envelope(lowest.astype(np.float32), highest.astype(np.float32), rms.astype(np.float32), audio.seconds)


def waveform_png(sound: Audio | Envelope, label: str = "") -> bytes:
    """A PNG of 960 x 200: peaks light, RMS dark, steps that reach full scale red, seconds below.

    label: an id; give no words of the recording, no file name.
    """
    image = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    _draw(ImageDraw.Draw(image), _as_envelope(sound), label, (0, 0, _WIDTH, _HEIGHT))
    return _png(image)


def contact_sheet(sounds: Sequence[tuple[str, Audio | Envelope]]) -> bytes:
    """A PNG of two columns of waveforms, each under its label (a job's id). Takes 1 to 16; raises ValueError."""
    if not 1 <= len(sounds) <= MOST_ON_A_SHEET:
        raise ValueError(f"a contact sheet holds 1 to {MOST_ON_A_SHEET} sounds, not {len(sounds)}")
    columns = min(2, len(sounds))
    rows = math.ceil(len(sounds) / columns)
    image = Image.new("RGB", (columns * _SHEET_WIDTH, rows * _SHEET_HEIGHT), _PAPER)
    for index, (label, sound) in enumerate(sounds):
        row, column = divmod(index, columns)
        corner = (column * _SHEET_WIDTH, row * _SHEET_HEIGHT)
        box = (*corner, corner[0] + _SHEET_WIDTH, corner[1] + _SHEET_HEIGHT)
        _draw(ImageDraw.Draw(image), _as_envelope(sound), label, box)
    return _png(image)


def _as_envelope(sound: Audio | Envelope) -> Envelope:
    return envelope(sound) if isinstance(sound, Audio) else sound


def _draw(draw: ImageDraw.ImageDraw, outline: Envelope, label: str, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box[0] + _LEFT, box[1] + _TOP, box[2] - _RIGHT, box[3] - _BOTTOM
    middle, half = (top + bottom) / 2, (bottom - top) / 2
    font = ImageFont.load_default(size=11)
    for value, text in ((1.0, "0 dBFS"), (0.5, "-6"), (0.0, ""), (-0.5, "-6"), (-1.0, "0")):
        y = middle - value * half
        draw.line((left, y, right, y), fill=_GRID)
        draw.text((left - 5, y), text, fill=_INK, font=font, anchor="rm")
    for seconds in _ticks(outline.seconds, right - left):
        x = left + (right - left) * seconds / outline.seconds
        draw.line((x, top, x, bottom + 3), fill=_GRID)
        draw.text((x, bottom + 5), _clock(seconds), fill=_INK, font=font, anchor="mt")
    for x in range(left, right):
        if not len(outline.rms):
            break
        # Every pixel shows all steps that fall on it, so that a narrow picture loses no peak.
        first = (x - left) * len(outline.rms) // (right - left)
        steps = slice(first, max(first + 1, (x + 1 - left) * len(outline.rms) // (right - left)))
        low, high = float(outline.lowest[steps].min()), float(outline.highest[steps].max())
        rms = min(1.0, float(np.sqrt(np.mean(np.square(outline.rms[steps])))))
        clipped = max(high, -low) >= _FULL_SCALE
        low, high = (min(1.0, max(-1.0, value)) for value in (low, high))
        draw.line((x, middle - high * half, x, middle - low * half), fill=_CLIP if clipped else _PEAK)
        draw.line((x, middle - min(rms, max(high, 0)) * half, x, middle - max(-rms, min(low, 0)) * half), fill=_RMS)
    draw.text((left, box[1] + 6), label, fill=_INK, font=ImageFont.load_default(size=12), anchor="lt")
    draw.text((right, box[1] + 6), f"{outline.seconds:,.2f} s", fill=_INK, font=font, anchor="rt")


def _ticks(seconds: float, pixels: int) -> list[float]:
    """Round times, at least 60 pixels apart."""
    if not seconds:
        return []
    step = next((tick for tick in _TICKS_SECONDS if pixels * tick / seconds >= 60), _TICKS_SECONDS[-1])  # noqa: PLR2004
    return [index * step for index in range(math.floor(seconds / step) + 1)]


def _clock(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - below a minute: 2.5 s
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.quantize(64, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
