"""Of the long sound that the steps of a dub walk through, none stays in this process's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.audio.loudness import Loudness
from audiomill.audio.mixing import mixed
from audiomill.engines.separation.protocol import Chunk, Separated, chunks, joined, separated
from audiomill.lines.document import Line, Lines
from audiomill.milling.stage import Unit
from audiomill.stages.cast.speakers import with_speakers
from audiomill.stages.mix.checks import background_kept
from audiomill.stages.mix.mixing import Dub, _placed, summed_loudness
from audiomill.stages.separate.work import Separating
from tests.unit.test_audio_memory import long, share  # noqa: F401 - a fixture

RATE = 192_000
"""So that 96 MB are two minutes: what is heard of each second takes its time."""

MOST_MEGABYTES = 48
"""Half of the sound. What is imported and allocated for the first time takes some 25."""


@pytest.fixture
def sound(long: Audio) -> Audio:  # noqa: F811 - a fixture
    return Audio(long.samples, RATE)


@contextmanager
def held() -> Iterator[None]:
    before = share()
    yield
    assert share() - before < MOST_MEGABYTES


def lines(sound: Audio, each_ms: int) -> Lines:
    """One after the other, as long as the sound, each with a pause before the next."""
    length_ms = round(sound.seconds * 1000)
    return Lines(
        source_language="en",
        target_language="de",
        duration_ms=length_ms,
        lines=tuple(
            Line(
                id=f"L{at}", start_ms=at, end_ms=at + each_ms - 500, text="x", translation="y", spoken_ms=each_ms,
                rate=1.0, actual_start_ms=at, actual_end_ms=at + each_ms - 500,
            )
            for at in range(0, length_ms - each_ms, each_ms)
        ),
    )  # fmt: skip


def test_casting_listens_to_lines(sound: Audio) -> None:
    with held():
        with_speakers(lines(sound, 6_000), sound)


def test_mixing_takes_the_background(sound: Audio) -> None:
    with held():
        mixed(sound, [], target_lufs=-float("inf"))


def test_mixing_takes_lines_as_their_time_comes(sound: Audio) -> None:
    with held():
        for placed in _placed(lines(sound, 6_000), sound, sound, 0.0):
            assert placed.audio.channels == 1


def test_what_the_original_was_is_measured(sound: Audio) -> None:
    with held():
        summed_loudness(sound, sound)


def test_the_background_is_compared_between_the_lines(sound: Audio) -> None:
    spoken = lines(sound, 6_000)
    spoken = spoken.model_copy(update={"lines": spoken.lines[:1]})
    measured = Loudness(-20.0, -3.0)
    with held():
        dub = Dub(sound, spoken, measured, measured, 0.0, limited=False)
        assert background_kept(dub, sound).value == 0.0


class Halving:
    """An engine that takes half of each sample for the voice."""

    context_seconds = 1.0

    def separate(self, given: list[Chunk], _progress: object) -> list[Separated]:
        return [separated(chunk, chunk.audio.samples[:, chunk.first : chunk.last] / 2) for chunk in given]


def test_separating_cuts_chunks_and_joins_them(sound: Audio, tmp_path: Path) -> None:
    engine = Halving()
    paths = []
    with held():
        for at, chunk in enumerate(chunks(sound, context_seconds=1.0)):
            (result,) = Separating.run(None, engine, [Unit(chunk, 1.0)], None)  # type: ignore[arg-type]
            paths.append(tmp_path / f"{at}.npy")
            np.save(paths[-1], result.voice.samples)  # type: ignore[union-attr]
            del result
    with held():
        both = joined(sound, (Audio(np.load(path), RATE) for path in paths))
    assert both.voice.samples.shape == sound.samples.shape
