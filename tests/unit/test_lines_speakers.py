"""Who speaks, by pitch; where lines lie in their file; what languages are called."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiomill.lines.languages import same, three_letters
from audiomill.lines.places import places, spoken_ms
from audiomill.lines.speakers import _boundary, speakers_by_pitch


def test_a_man_and_a_woman_are_two_and_who_begins_is_the_first():
    assert speakers_by_pitch([110, 210, 118, 190, 105]) == ["S1", "S2", "S1", "S2", "S1"]
    assert speakers_by_pitch([210, 110, 190]) == ["S1", "S2", "S1"]
    assert speakers_by_pitch([110, None, 210, None]) == ["S1", "S1", "S2", "S2"]


def test_one_is_one_however_lively():
    for seed in range(50):
        lively = [120 * 2 ** (random.Random(seed * 1000 + each).gauss(0, 2) / 12) for each in range(40)]
        assert set(speakers_by_pitch(lively)) == {"S1"}
    assert speakers_by_pitch([None, None]) == ["S1", "S1"]
    assert speakers_by_pitch([140]) == ["S1"]
    assert speakers_by_pitch([140, 140]) == ["S1", "S1"]
    assert speakers_by_pitch([]) == []


@given(st.lists(st.none() | st.floats(60, 500), max_size=30))
def test_each_line_has_a_speaker_and_the_first_is_s1(pitches):
    found = speakers_by_pitch(pitches)
    assert len(found) == len(pitches)
    assert set(found) <= {"S1", "S2"}
    assert not found or found[0] == "S1"


@given(st.lists(st.integers(0, 400_000), max_size=40), st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000]))
def test_every_line_has_room_and_they_lie_back_to_back(lengths, rate):
    found = places([spoken_ms(samples, rate) for samples in lengths], rate)
    at = 0
    for samples, (first, last) in zip(lengths, found, strict=True):
        assert first == at
        assert samples <= last - first <= samples + 2 * rate / 1000 + 2
        at = last


@pytest.mark.parametrize(
    ("tag", "three"),
    [("es", "spa"), ("es-419", "spa"), ("EN_gb", "eng"), ("yue", "yue"), ("qx", "und"), ("und", "und")],
)
def test_films_call_languages_by_three_letters(tag, three):
    assert three_letters(tag) == three


def test_what_is_the_same_language():
    assert same("en", "EN-gb")
    assert same("en_GB", "en-gb")
    assert not same("es-es", "es-mx")
    assert not same("en", "es")


class Counted(float):
    """Counts how often it is added to something."""

    added = 0

    def __radd__(self, other: float) -> float:
        Counted.added += 1
        return float(self) + other

    __add__ = __radd__


def test_telling_two_apart_takes_the_time_of_their_lines():
    lines = [Counted(40 + 7 * (at % 2) + at / 1000) for at in range(300)]
    assert 40 < _boundary(lines) < 47
    assert Counted.added < 10 * len(lines)
