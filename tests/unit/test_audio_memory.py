"""Long sound that is walked through does not stay in this process's memory."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from audiomill.audio import Audio, envelope, peak
from audiomill.audio.blocks import BLOCK_SAMPLES, blocks, let_go
from audiomill.audio.pieces import Pieces

MEGABYTE = 1024**2


def share() -> float:
    return float(psutil.Process().memory_full_info().pss) / MEGABYTE


@pytest.fixture
def long(tmp_path: Path) -> Audio:
    """96 MB, written piece by piece."""
    pieces = Pieces(tmp_path / "sound")
    rng = np.random.default_rng(1)
    for number in range(96):
        pieces.put(number, Audio(rng.uniform(-1, 1, (1, BLOCK_SAMPLES)).astype(np.float32), 16_000))
    return pieces.joined()


def test_a_sound_that_was_walked_through_is_not_held(long: Audio) -> None:
    before = share()
    total = sum(float(block.sum(dtype=np.float64)) for block in blocks(long))
    assert share() - before < 20
    highest = peak(long)
    outline = envelope(long)
    assert share() - before < 20
    assert (total, highest, float(outline.highest.max())) == (
        pytest.approx(float(np.asarray(long.samples).sum(dtype=np.float64))),
        float(np.abs(np.asarray(long.samples)).max()),
        float(np.asarray(long.samples).max()),
    )


def test_what_was_let_go_of_is_there_when_it_is_looked_at_again(long: Audio) -> None:
    view = long.samples[:, 1000:70_001]
    before = np.array(view)
    let_go(view)
    assert np.array_equal(view, before)


def test_of_sound_in_memory_nothing_is_let_go() -> None:
    samples = np.ones((2, 100_000), np.float32)
    for block in blocks(Audio(samples, 16_000)):
        assert block.base is samples
    let_go(samples[:, :0])
    assert samples.all()
