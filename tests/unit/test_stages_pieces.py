"""Texts in pieces through the stage `synthesize`: what is kept of them, in what order, how long they may be at most."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiomill.audio import Audio
from audiomill.audio.pieces import Pieces
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.engines.text_to_speech.protocol import Speech
from audiomill.errors import BadInput, LimitExceeded
from audiomill.milling.stage import Opened
from audiomill.settings import Settings
from audiomill.stages.synthesize.work import Silent, Spoken, Synthesizing, Text, _joined
from audiomill.transcripts import Word
from tests.unit.test_stream import item


def sound(samples: int, start: int = 0) -> Audio:
    return Audio(np.arange(start, start + samples, dtype=np.float32)[None] / 1000, 8_000)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=8), data=st.data())
def test_pieces_are_joined_in_their_order_however_they_come(tmp_path: Path, lengths: list[int], data: Any) -> None:
    path = tmp_path / "pieces"
    for left in tmp_path.iterdir():
        left.unlink()
    pieces = Pieces(path)
    starts = [0, *itertools.accumulate(lengths)]
    for number in data.draw(st.permutations(range(len(lengths)))):
        pieces.put(number, sound(lengths[number], starts[number]))
    assert pieces.seconds == sum(lengths) / 8_000
    joined = pieces.joined()
    assert np.array_equal(joined.samples, sound(sum(lengths)).samples)
    assert joined.sample_rate_hz == 8_000


def test_pieces_of_two_rates_are_no_sound(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "pieces")
    pieces.put(0, sound(10))
    with pytest.raises(ValueError, match="among pieces"):
        pieces.put(1, Audio(np.zeros((1, 5), np.float32), 16_000))


def test_a_sound_of_pieces_is_a_map_of_a_file(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "pieces")
    pieces.put(0, sound(10))
    assert isinstance(pieces.joined().samples.base, np.memmap)


class At:
    """A text opened, with the stage and the engine that speak it."""

    def __init__(self, folder: Path, text: str, max_seconds: float = 3600) -> None:
        config = Settings(data_dir=folder, limits={"max_seconds": max_seconds})  # type: ignore[arg-type]
        self.engine = Espeak(model_store=folder, budget=CoreBudget(folder / "cores", 1))
        self.stage = Synthesizing(cast("Any", SimpleNamespace(engine=self.engine, settings=config)))
        material = Text(text, SynthesizeParameters(formats=("flac",)), Pieces(folder / "pieces"), None)
        self.opened = Opened(item("a"), 1, folder, material, 1.0, "0", "key")

    def spoken(self, order: list[int] | None = None, together: int = 1) -> Speech:
        units = list(self.stage.units(self.opened))
        places = order if order is not None else list(range(len(units)))
        kept: dict[int, Any] = {}
        for start in range(0, len(places), together):
            call = places[start : start + together]
            results = self.stage.run(self.engine, [units[place] for place in call], lambda *_: None)
            for place, result in zip(call, results, strict=True):
                assert not isinstance(result, Exception)
                kept[place] = self.stage.gather(self.opened, place, result)
        return _joined(self.opened.material.pieces, [kept[place] for place in range(len(units))])


LONG = "The weather is good today, and everybody is at work. " * 60


def test_a_text_of_one_piece_is_what_the_engine_says_of_it(tmp_path: Path) -> None:
    text = LONG[:1900]
    at = At(tmp_path, text)
    (whole,) = at.engine.synthesize([text], SynthesizeParameters())
    assert isinstance(whole, Speech)
    assert np.array_equal(at.spoken().audio.samples, whole.audio.samples)


def test_packing_and_order_change_no_sample(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first = At(folders[0], LONG).spoken()
    assert len(list(At(folders[0], LONG).stage.units(At(folders[0], LONG).opened))) == 2
    assert np.array_equal(At(folders[1], LONG).spoken([1, 0]).audio.samples, first.audio.samples)
    assert np.array_equal(At(folders[2], LONG).spoken(together=2).audio.samples, first.audio.samples)


def test_units_of_other_formats_share_a_call(tmp_path: Path) -> None:
    (unit,) = At(tmp_path, "Good morning.").stage.units(At(tmp_path, "Good morning.").opened)
    assert unit.group == SynthesizeParameters(formats=("wav",))


def test_speaking_stops_when_the_pieces_together_are_too_long(tmp_path: Path) -> None:
    at = At(tmp_path, LONG, max_seconds=150)
    with pytest.raises(LimitExceeded) as refused:
        at.spoken()
    assert refused.value.code == "speech_too_long"


def test_a_piece_with_nothing_to_speak_is_left_out_and_a_text_of_nothing_else_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    at = At(tmp_path, "Good morning. " + "... " * 600)
    assert len(list(at.stage.units(at.opened))) == 2
    assert at.spoken().audio.seconds > 0.5
    with pytest.raises(BadInput) as refused:
        At(tmp_path / "b", "... " * 1200).spoken()
    assert refused.value.code == "nothing_to_speak"


def test_the_words_ends_are_those_of_the_whole(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "pieces")
    pieces.put(0, sound(8_000))
    pieces.put(2, sound(16_000))
    kept = [Spoken(1.0, 0.9), Silent(BadInput("No.", code="nothing_to_speak")), Spoken(2.0, 1.5)]
    assert _joined(pieces, kept).words == (Word("", 2.5, 2.5),)
