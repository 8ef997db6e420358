"""A voice per speaker by pitch: low voices for low speakers, different ones where there are, the same each time."""

from hypothesis import given
from hypothesis import strategies as st

from audiomill.engines.text_to_speech.espeak_library import data_folder
from audiomill.engines.text_to_speech.espeak_voices import voices_by_pitch

PITCHES = st.dictionaries(st.text(min_size=1, max_size=4), st.none() | st.floats(50, 500), max_size=12)


@given(PITCHES, st.randoms())
def test_the_same_speakers_get_the_same_voices_in_whatever_order(speakers, random):
    names = list(speakers)
    random.shuffle(names)
    chosen = voices_by_pitch(speakers)
    assert voices_by_pitch({name: speakers[name] for name in names}) == chosen
    assert list(chosen) == list(speakers)


def test_two_of_one_range_differ_and_ranges_rise():
    chosen = voices_by_pitch({"a": 120.0, "b": 130.0, "c": 200.0, "d": 95.0, "e": 300.0, "f": 125.0, "g": None})
    assert chosen["a"] != chosen["f"]
    assert len({(voice.variant, voice.pitch) for voice in chosen.values()}) >= 5
    assert [chosen[name].variant[0] for name in "dace"] == ["m", "m", "f", "f"]
    assert chosen["g"].variant.startswith("m")


def test_every_variant_is_there():
    found = voices_by_pitch({str(hertz): float(hertz) for hertz in range(80, 400, 20)})
    for voice in found.values():
        assert (data_folder() / "voices" / "!v" / voice.variant).is_file()
