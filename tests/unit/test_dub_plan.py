"""What is done for a dub: which steps for which inputs; orders that make no sense; which engine serves a pair."""

import pytest

from audiomill.catalogue.capabilities import capability, validated
from audiomill.catalogue.engines import ENGINES
from audiomill.catalogue.plan import Plan
from audiomill.catalogue.stages import STAGES
from audiomill.errors import BadRequest, EngineUnavailable
from audiomill.jobs.availability import EngineView, choice_of
from tests.unit.test_audio_broken import is_sentence

ALL = ("separate", "transcribe", "cast", "translate", "speak", "mix", "mux")


def plan(parameters=None, **roles) -> Plan:
    ordered = validated("dub", {"target_language": "es"} | (parameters or {}))
    return capability("dub").planned(ordered, {"source": 1} | roles)


def names(found):
    return tuple(step.name for step in found.steps)


def step(found, name):
    return next(one for one in found.steps if one.name == name)


def test_without_subtitles_all_of_it_is_done():
    found = plan()
    assert names(found) == ALL
    assert [one.name for one in found.steps if one.delivers] == ["separate", "mux"]
    assert step(found, "transcribe").reads == ("separate/voice",)
    assert step(found, "speak").reads == ("translate/lines",)
    assert step(found, "translate").language == ">es"
    assert not any(one.optional for one in found.steps)


def test_subtitles_stand_in_for_transcribing_and_translating():
    both = plan(subtitles=1, source_subtitles=1)
    assert names(both) == ("separate", "cast", "speak", "mix", "mux")
    assert step(both, "cast").reads == ("separate/voice", "input:source_subtitles", "input:subtitles")
    target = plan(subtitles=1)
    assert names(target) == ("separate", "transcribe", "cast", "speak", "mix", "mux")
    assert step(target, "transcribe").optional
    assert names(plan({"transcript": False}, subtitles=1)) == ("separate", "cast", "speak", "mix", "mux")
    source = plan({"source_language": "en-GB"}, source_subtitles=1)
    assert names(source) == ("separate", "cast", "translate", "speak", "mix", "mux")
    assert step(source, "translate").language == "en>es"


def test_a_dub_into_english_is_listened_back_to():
    found = plan({"target_language": "en_US", "source_language": "es"})
    assert step(found, "listen").optional
    assert "listen/result" in step(found, "mux").reads
    assert step(found, "speak").language == "en-us"


def test_engines_and_options_go_to_their_steps():
    found = plan(
        {
            "engines": {"separate": "rnnoise", "speak": "espeak-ng"}, "models": {"transcribe": "small"}, "track": 2,
            "glossary": {"train": "tren"}, "voices": {"S1": "roa/es+f2"}, "rate_wpm": 160, "formats": ["wav", "flac"],
        }
    )  # fmt: skip
    assert (step(found, "separate").engine, step(found, "speak").engine) == ("rnnoise", "espeak-ng")
    assert step(found, "transcribe").model == "small"
    assert step(found, "separate").options["track"] == step(found, "mux").options["track"] == 2
    assert step(found, "translate").features == {"glossary"}
    assert step(found, "speak").options == {"voices": {"S1": "roa/es+f2"}, "rate_wpm": 160}
    assert step(found, "mux").options["formats"] == ["wav", "flac"]
    assert all(STAGES[one.stage].task or one.engine == "auto" for one in found.steps)


@pytest.mark.parametrize(
    ("parameters", "roles"),
    [
        ({"source_language": "es"}, {}),
        ({"source_language": "es-MX", "target_language": "es"}, {}),
        ({"engine": "espeak-ng"}, {}),
        ({"track": 0}, {}),
        ({"target_language": "not a language"}, {}),
        ({}, {"source_subtitles": 1}),
        ({}, {"subtitles": 2}),
        ({}, {"voice": 1}),
    ],
)
def test_orders_that_make_no_sense_are_refused_with_a_sentence(parameters, roles):
    with pytest.raises(BadRequest) as caught:
        plan(parameters, **roles)
    assert is_sentence(caught.value.message), caught.value.message
    with pytest.raises(BadRequest, match="target_language"):
        validated("dub", {})


def view(engine, task, languages, *, features=(), available=True):
    return EngineView(engine, None, "cpu", task, 0, available, "weights", languages, 1, "MIT", features, True)


@pytest.mark.parametrize(
    ("wanted", "languages", "served"),
    [
        ("en>es", ("en>es",), True),
        ("es>en", ("en>es",), False),
        (">es", ("en>es",), True),
        (">en", ("en>es",), False),
        ("en>pt", ("en>pt-br",), True),
        ("en>es", ("en", "es"), True),
        ("en>th", ("en", "es"), False),
        (">th", None, True),
    ],
)
def test_a_pair_is_served_by_who_knows_it(wanted, languages, served):
    asked = step(plan(), "translate").__class__("translate", "translate", language=wanted)
    views = [view("apertium", "translation", languages)]
    if served:
        assert choice_of(views, task="translation", asked=asked).engine == "apertium"
    else:
        with pytest.raises(EngineUnavailable, match=r"does not translate .*With subtitles in the dub's language"):
            choice_of(views, task="translation", asked=asked)


def test_a_glossary_needs_an_engine_that_keeps_to_it():
    asked = step(plan({"glossary": {"a": "b"}}), "translate")
    nmt = view("ctranslate2-nmt", "translation", ("en", "es"))
    with pytest.raises(EngineUnavailable, match="glossary"):
        choice_of([nmt], task="translation", asked=asked)
    entry = next(entry for entry in ENGINES if entry.name == "apertium")
    kept = view("apertium", "translation", ("en>es",), features=entry.features)
    assert choice_of([nmt, kept], task="translation", asked=asked).engine == "apertium"


def test_a_language_that_no_voice_speaks_is_refused_at_the_order():
    asked = step(plan({"target_language": "qqq"}), "speak")
    with pytest.raises(EngineUnavailable, match="qqq"):
        choice_of([view("espeak-ng", "text_to_speech", ("es", "en-us"))], task="text_to_speech", asked=asked)
