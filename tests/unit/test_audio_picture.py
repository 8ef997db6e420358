"""Pictures: that they show what the sound does, at any length, in any blocks."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from audiomill.audio import Audio, contact_sheet, envelope, waveform_png
from audiomill.audio import picture as drawing
from audiomill.audio.blocks import blocks
from tests.fakes.recordings import tone

RED, LIGHT, DARK = drawing._CLIP, drawing._PEAK, drawing._RMS


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def inked(picture: np.ndarray, *colours) -> np.ndarray:
    """Columns that hold one of the colours."""
    found = np.zeros(picture.shape[:2], dtype=bool)
    for colour in colours:
        found |= np.abs(picture - colour).sum(axis=2) < 12
    return found


def test_envelope_against_plain_numpy(monkeypatch):
    samples = np.random.default_rng(0).normal(0, 0.2, (2, 10_007)).astype(np.float32)
    outlines = []
    for size in (1 << 18, 999, 7):
        monkeypatch.setattr(drawing, "blocks", lambda audio, size=size: blocks(audio, size))
        outlines.append(envelope(Audio(samples, 8_000), columns=100))
    edges = np.linspace(0, 10_007, 101).astype(int)
    parts = [samples[:, a:b] for a, b in itertools.pairwise(edges)]
    for outline in outlines:
        np.testing.assert_array_equal(outline.lowest, [part.min() for part in parts])
        np.testing.assert_array_equal(outline.highest, [part.max() for part in parts])
        np.testing.assert_allclose(outline.rms, [np.sqrt(np.mean(part**2)) for part in parts], rtol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 50, 903, 904, 905, 5_000])
def test_any_length_is_drawn(length):
    audio = Audio(np.full((1, length), 0.5, dtype=np.float32), 8_000)
    picture = pixels(waveform_png(audio, "job"))
    assert picture.shape == (200, 960, 3)
    drawn = inked(picture, LIGHT, DARK).any(axis=0)[44:948]
    assert drawn.all() if length else not drawn.any()


def test_loud_is_high_and_clipped_is_red():
    quiet, loud, clipped = tone(1.0, amplitude=0.1), tone(1.0, amplitude=0.8), np.clip(tone(1.0, amplitude=3), -1, 1)
    picture = pixels(waveform_png(Audio(np.concatenate([quiet, loud, clipped])[None], 16_000)))
    heights = inked(picture, LIGHT, DARK, RED).sum(axis=0)[44:948]
    third = len(heights) // 3
    assert heights[20 : third - 20].max() < 25
    assert heights[third + 20 : 2 * third - 20].min() > 100
    red = inked(picture, RED).any(axis=0)[44:948]
    assert not red[: 2 * third - 2].any()
    assert red[2 * third + 2 :].all()


def test_a_narrow_picture_loses_no_peak():
    samples = np.zeros((1, 160_000), dtype=np.float32)
    samples[0, 77_777] = 1.0
    picture = pixels(contact_sheet([("a", Audio(samples, 16_000)), ("b", Audio(samples, 16_000))]))
    assert inked(picture[:130, :480], RED).any()


def test_beyond_full_scale_stays_inside_its_frame():
    picture = pixels(waveform_png(Audio(tone(1.0, amplitude=50)[None], 16_000)))
    drawn = inked(picture, RED, LIGHT, DARK).any(axis=1)
    assert not drawn[:20].any()
    assert not drawn[182:].any()


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_a_sheet_has_room_for_all(count):
    sounds = [(f"job_{index}", envelope(Audio(tone(0.5)[None], 16_000))) for index in range(count)]
    picture = pixels(contact_sheet(sounds))
    assert picture.shape == ((count + 1) // 2 * 130, 480 * min(2, count), 3)
    for index in range(count):
        row, column = divmod(index, min(2, count))
        assert inked(picture[row * 130 : row * 130 + 130, column * 480 : column * 480 + 480], DARK).any()


@pytest.mark.parametrize("count", [0, 17])
def test_a_sheet_holds_one_to_sixteen(count):
    with pytest.raises(ValueError, match="1 to 16"):
        contact_sheet([("job", Audio(tone(0.1)[None], 16_000))] * count)


@pytest.mark.parametrize("seconds", [0.01, 1, 59, 61, 3_600, 36_000, 100_000])
def test_times_are_round_and_do_not_touch(seconds):
    ticks = drawing._ticks(seconds, 904)
    assert 1 <= len(ticks) <= 904 / 60 + 1
    assert all(0 <= tick <= seconds for tick in ticks)
    assert len({drawing._clock(tick) for tick in ticks}) == len(ticks)


def test_the_same_picture_every_time():
    audio = Audio(tone(0.5)[None], 16_000)
    assert waveform_png(audio, "job") == waveform_png(audio, "job")
