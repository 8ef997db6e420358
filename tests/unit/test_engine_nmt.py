"""NLLB's way through CTranslate2 on a tiny random model: noise comes out, the same whatever the packing."""

from types import SimpleNamespace

import pytest

from audiomill.engines.cores import CoreBudget
from audiomill.engines.model_store import ModelStore
from audiomill.engines.translation.ctranslate2_nmt import NAME, CTranslate2Translator
from audiomill.engines.translation.protocol import Pair, Sentence, TranslationOrder
from audiomill.errors import BadInput, EngineFailed, EngineUnavailable, OperatorError
from tests.fakes import tiny_translator

EN_ES = TranslationOrder(Pair("en-us", "es"))
TEXTS = ["Good morning.", "", "The dog <b>barks</b> & runs.", "日本語 🎉", "Again and again and again."]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    store = tmp_path_factory.mktemp("models")
    ModelStore(store).add(NAME, "tiny", tiny_translator.build(tmp_path_factory.mktemp("tiny")))
    engine = CTranslate2Translator(model_store=store, budget=CoreBudget(tmp_path_factory.mktemp("c"), 2))
    engine.load("tiny", "cpu")
    yield engine
    engine.close()


def said(engine, texts, order=EN_ES):
    return engine.translate([Sentence(text) for text in texts], order)


def test_as_many_texts_in_that_order_whatever_the_packing(engine):
    together = said(engine, TEXTS)
    assert together[1] == ""
    assert len(set(together)) > 2
    assert said(engine, TEXTS[::-1]) == together[::-1]
    assert [said(engine, [text])[0] for text in TEXTS] == together


def test_what_it_speaks_and_what_it_is(engine):
    assert Pair("en", "fr") in engine.pairs()
    assert len(engine.pairs()) == 6
    assert engine.availability()[0].available
    assert engine.identity.model_sha256
    with pytest.raises(BadInput, match="from en to th"):
        said(engine, ["a"], TranslationOrder(Pair("en", "th")))
    with pytest.raises(BadInput, match="glossary"):
        said(engine, ["a"], TranslationOrder(Pair("en", "es"), {"a": "b"}))
    assert said(engine, ["ab" * 2000])[0].code == "sentence_too_long"


def broken(words):
    def translate_batch(*_arguments, **_order):
        raise RuntimeError(words)

    return SimpleNamespace(translate_batch=translate_batch)


def test_a_device_that_fails_is_no_texts_fault(engine, monkeypatch):
    monkeypatch.setattr(engine, "_translator", broken("cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED"))
    with pytest.raises(OperatorError) as caught:
        said(engine, TEXTS)
    assert caught.value.code == "device_failed"
    monkeypatch.setattr(engine, "_translator", broken("no such token"))
    with pytest.raises(EngineFailed):
        said(engine, TEXTS)


def test_without_weights_it_says_how_to_get_them(tmp_path):
    engine = CTranslate2Translator(model_store=tmp_path, budget=CoreBudget(tmp_path, 1))
    assert "not in the model store" in engine.availability()[0].lacks
    with pytest.raises(EngineUnavailable):
        engine.load(None, "cpu")
    assert engine.pairs() == ()
