"""apertium: as many lines out as in, whatever is in them and beside them; the glossary; time and death told."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiomill.engines.cores import CoreBudget
from audiomill.engines.translation import apertium
from audiomill.engines.translation.apertium import Apertium
from audiomill.engines.translation.protocol import Pair, Sentence, TranslationOrder, served
from audiomill.errors import BadInput, EngineFailed, EngineProcessDied, EngineUnavailable

EN_ES = Pair("en", "es")
installed = pytest.mark.skipif(
    shutil.which("apertium") is None or EN_ES not in apertium.sorted_modes(),
    reason="needs Debian's apertium and apertium-eng-spa",
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Apertium(model_store=tmp_path_factory.mktemp("m"), budget=CoreBudget(tmp_path_factory.mktemp("c"), 2))
    if apertium.sorted_modes():
        engine.load(None, "cpu")
    return engine


def said(engine, *texts, pair=EN_ES, **glossary):
    return engine.translate([Sentence(text) for text in texts], TranslationOrder(pair, glossary.get("glossary", {})))


@installed
def test_sentences_are_translated_in_order(engine):
    found = said(engine, "The dog is in the house.", "", "Good morning, friend.", "My brother reads two books.")
    assert found[0] == "El perro es en la casa."
    assert found[1] == ""
    assert "amigo" in found[2]
    assert "libros" in found[3]
    assert said(engine, "El perro come.", pair=Pair("es", "en")) == ["The dog eats."]


HARD = [
    "Use <b>bold</b> & &amp; [brackets] {braces} ^caret$ a/b \\ back@slash ~tilde #hash *star +plus",
    "$^[]{}<>/\\@~*#+",
    "",
    "One. Two! Three? ... (Four)",
    "word " * 4000,
    "line\nbreak\tand\x00nul",
    "日本語 العربية 🎉 é",
]


@installed
def test_no_line_breaks_the_frame_and_none_knows_of_another(engine):
    alone = [said(engine, text)[0] for text in HARD]
    together = said(engine, *HARD)
    assert together == alone
    assert said(engine, *reversed(HARD)) == alone[::-1]
    assert all(isinstance(text, str) for text in together)
    assert together[4].count(" ") > 3000
    for mark in "<>&[]{}^$/\\@~#*+":
        assert mark in together[0], mark


@installed
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=8))
def test_as_many_come_out_as_went_in(engine, texts):
    found = said(engine, *texts)
    assert len(found) == len(texts)
    assert all(isinstance(text, str) for text in found)


@installed
def test_terms_of_the_glossary_come_out_as_they_stand(engine):
    glossary = {"Acme Mill": "Molino Acme®", "dog": "can", "a+b": "x/y"}
    found = said(engine, "The Acme Mill has a DOG.", "Dogs bark.", "It is a+b, not the dog.", glossary=glossary)
    assert "Molino Acme®" in found[0]
    assert "can." in found[0]
    assert "can" not in found[1].split()
    assert "x/y" in found[2]


@installed
def test_too_long_and_dead_are_told(engine, monkeypatch, tmp_path):
    monkeypatch.setattr(apertium, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(apertium, "_SECONDS_PER_THOUSAND_CHARACTERS", 0.0)
    with pytest.raises(EngineFailed) as caught:
        said(engine, "The dog. " * 1000)
    # One that is slow on a busy machine is no verdict.
    assert type(caught.value) is EngineProcessDied
    assert caught.value.code == "engine_took_too_long"
    monkeypatch.undo()


@installed
@pytest.mark.parametrize(
    ("how", "proof"),
    [
        ("kill -SEGV $$", True),
        ("bash -c 'set -o pipefail; sh -c \"kill -ABRT \\$\\$\" | cat'", True),
        ("kill -9 $$", False),
        ("bash -c 'set -o pipefail; sh -c \"kill -9 \\$\\$\" | cat'", False),
        ("kill -BUS $$", False),
        ("exit 6", False),
        ("exit 0", False),
    ],
)
def test_a_process_that_was_killed_is_told_from_one_that_crashed(engine, monkeypatch, tmp_path, how, proof):
    dying = tmp_path / "apertium"
    dying.write_text(f"#!/bin/sh\n{how}\n")
    dying.chmod(0o755)
    monkeypatch.setattr(apertium, "_program", lambda: str(dying))
    with pytest.raises(EngineProcessDied) as caught:
        said(engine, "The dog.")
    assert caught.value.code == ("engine_process_died" if proof else "engine_process_killed")


@installed
def test_what_it_speaks_and_what_it_would_with_what(engine):
    assert EN_ES in engine.pairs()
    assert all(row.available for row in engine.availability())
    assert all(one.pair not in engine.pairs() and "apertium-" in one.lacks for one in engine.lacking())
    assert engine.identity.model_sha256
    with pytest.raises(BadInput, match="from en to th"):
        said(engine, "Hello.", pair=Pair("en", "th"))
    with pytest.raises(EngineUnavailable):
        engine.load("eng-tha", "cpu")


def test_without_the_programs_it_says_what_is_missing(engine, monkeypatch):
    monkeypatch.setattr(apertium, "_program", lambda: None)
    assert engine.pairs() == ()
    assert "apertium" in engine.availability()[0].lacks
    with pytest.raises(EngineUnavailable, match="apertium"):
        engine.load(None, "cpu")
    with pytest.raises(BadInput, match="nothing here"):
        said(engine, "Hello.")


def test_a_region_is_served_by_its_language():
    known = (Pair("en", "es"), Pair("es", "en-us"))
    assert served(Pair("en-GB", "es-419"), known) == Pair("en", "es")
    assert served(Pair("es", "en"), known) == Pair("es", "en-us")
    assert served(Pair("en", "de"), known) is None
