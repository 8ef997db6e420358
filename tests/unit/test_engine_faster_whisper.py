"""faster-whisper's real code on a tiny random Whisper: loading, orders, times, repeatable sampling, long recordings."""

import re
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.model_store import ModelStore
from audiomill.engines.speech_to_text import faster_whisper, recordings
from audiomill.engines.speech_to_text.faster_whisper import SEED, FasterWhisper
from audiomill.engines.voice_activity import Span, pieces
from audiomill.errors import BadInput, EngineFailed, EngineUnavailable, OperatorError
from audiomill.transcripts import Transcript
from tests.fakes import tiny_whisper

# One temperature: the tiny model's noise never looks right, and each further one would cost a decoding.
GREEDY = TranscribeParameters(language="en", beam_size=1, temperatures=(0.0,), vad=False, sequential=True)
SAMPLING = TranscribeParameters(language="en", beam_size=1, temperatures=(1.0,), vad=False, sequential=True)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Other suites may ask for this by its folder: tests.fakes.tiny_whisper.build."""
    return tiny_whisper.build(tmp_path_factory.mktemp("tiny-whisper"))


@pytest.fixture(scope="session")
def store(tmp_path_factory, weights):
    store = ModelStore(tmp_path_factory.mktemp("models"))
    store.add("faster-whisper", "small", weights)
    return store


@pytest.fixture
def engine(store, tmp_path):
    engine = FasterWhisper(model_store=store.directory, budget=CoreBudget(tmp_path / "cores", 1))
    engine.load(None, "cpu")
    return engine


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    """Random weights never say "end": bound what they say, in the library's own option."""
    from faster_whisper import WhisperModel

    transcribe = WhisperModel.transcribe
    monkeypatch.setattr(
        WhisperModel, "transcribe", lambda model, audio, **order: transcribe(model, audio, max_new_tokens=12, **order)
    )


def noise(seconds: float, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, (1, round(seconds * 16_000)))
    return Audio(samples.astype(np.float32), 16_000)


def transcribed(engine, audio, order=GREEDY, progress=None) -> Transcript:
    result = recordings.transcribed(engine, [audio], order, progress)[0]
    assert isinstance(result, Transcript), result
    return result


def test_segments_and_words_with_times(engine):
    shares = []
    found = transcribed(engine, noise(5), progress=lambda index, share: shares.append((index, share)))
    assert found.segments
    assert found.duration_seconds == 5
    assert found.language == "en"
    words = [word for segment in found.segments for word in segment.words]
    assert words
    assert all(isinstance(word.start_seconds, float) and 0 <= word.confidence <= 1 for word in words)
    assert all(type(segment.start_seconds) is float for segment in found.segments), "no numpy types"
    assert shares
    assert all(0 < share <= 1 for _, share in shares)


def test_without_word_times(engine):
    found = transcribed(engine, noise(3), replace_order(word_timestamps=False))
    assert all(segment.words == () for segment in found.segments)


def replace_order(**changes) -> TranscribeParameters:
    return GREEDY.model_copy(update=changes)


@pytest.mark.parametrize("order", [GREEDY, SAMPLING], ids=["greedy", "sampling"])
def test_the_same_text_in_any_order_and_process(engine, store, tmp_path, order):
    audios = [noise(3, seed) for seed in range(3)]
    alone = []
    for audio in audios:
        fresh = FasterWhisper(model_store=store.directory, budget=CoreBudget(tmp_path / "cores", 1))
        fresh.load(None, "cpu")
        alone.append(transcribed(fresh, audio, order))
    assert len({found.text for found in alone}) > 1
    for indexes in ((2, 0, 1), (1, 1, 0)):
        assert recordings.transcribed(engine, [audios[index] for index in indexes], order) == [
            alone[index] for index in indexes
        ]


def test_every_parameter_reaches_the_library(engine, monkeypatch):
    asked = {}
    transcribe = type(engine._model).transcribe

    def listen(model, audio, **order):
        asked.update(order)
        return transcribe(model, audio, **order)

    monkeypatch.setattr(type(engine._model), "transcribe", listen)
    order = TranscribeParameters(
        language="de-AT", task="translate", beam_size=3, temperatures=(0.0, 0.5), word_timestamps=False, vad=False,
        initial_prompt="Guten Tag.", hotwords=("Audiomill", "Dagster"), sequential=True,
    )  # fmt: skip
    transcribed(engine, noise(2), order)
    assert asked == {
        "language": "de", "task": "translate", "beam_size": 3, "temperature": [0.0, 0.5], "word_timestamps": False,
        "vad_filter": False, "initial_prompt": "Guten Tag.", "hotwords": "Audiomill, Dagster",
    }  # fmt: skip


def test_auto_detects_the_language(engine):
    found = transcribed(engine, noise(3), replace_order(language="auto"))
    assert re.fullmatch(r"[a-z]{2,3}", found.language)
    assert 0 < found.language_probability <= 1


def test_nobody_speaks(engine):
    found = transcribed(engine, noise(3), replace_order(vad=True, language="auto"))
    assert (found.segments, found.language, found.language_probability) == ((), "und", None)
    empty = Audio(np.zeros((1, 0), np.float32), 16_000)
    assert transcribed(engine, empty).segments == ()


@pytest.mark.parametrize(
    ("tag", "name"), [("jv", "jw"), ("nb-NO", "no"), ("zh-TW", "zh"), ("zh-yue", "yue"), ("EN_us", "en")]
)
def test_languages_by_their_tags(engine, tag, name):
    assert engine._language(tag) == name


def test_an_unknown_language_fails_alone(engine):
    error = recordings.transcribed(engine, [noise(1)], replace_order(language="tlh"))[0]
    assert isinstance(error, BadInput)
    assert error.code == "language_not_supported"
    assert "'tlh'" in str(error)


@pytest.mark.parametrize("broken", [RuntimeError("no such token"), ValueError("prompt too long")])
def test_an_item_that_breaks_the_library_fails_alone(engine, monkeypatch, broken):
    decode, calls = engine._model.generate_with_fallback, []

    def fail_once(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise broken
        return decode(*arguments)

    monkeypatch.setattr(engine._model, "generate_with_fallback", fail_once)
    first, second = recordings.transcribed(engine, [noise(1), noise(1)], GREEDY)
    assert isinstance(first, EngineFailed)
    assert str(broken) in str(first)
    assert isinstance(second, Transcript)


@pytest.mark.parametrize("of", ["decoded", "languages", "sequential"])
def test_a_device_that_fails_is_no_recordings_fault(engine, monkeypatch, of):
    def sick(*_arguments, **_order):
        raise RuntimeError("CUDA failed with error out of memory")

    if of == "sequential":
        monkeypatch.setattr(engine._model, "generate_with_fallback", sick)
    else:
        monkeypatch.setattr(faster_whisper, of, sick)
    order = GREEDY.model_copy(update={"sequential": of == "sequential"})
    ask = engine.detect if of == "languages" else partial(engine.transcribe, params=order)
    with pytest.raises(OperatorError) as caught:
        ask([noise(1), noise(1)])
    assert caught.value.code == "device_failed"
    assert not isinstance(caught.value, EngineFailed)


def test_a_long_recording_goes_in_pieces(engine, monkeypatch):
    monkeypatch.setattr(faster_whisper, "PIECE_SECONDS", 4.0)
    long = noise(10)
    whole = transcribed(engine, long)
    starts = [segment.start_seconds for segment in whole.segments]
    assert max(starts) > 4, "later pieces are moved to their place"
    first = transcribed(engine, replace(long, samples=long.samples[:, : 4 * 16_000]))
    assert [segment.text for segment in whole.segments][: len(first.segments)] == [
        segment.text for segment in first.segments
    ]


def test_pieces_cover_the_recording():
    samples = noise(10).samples[0]
    found = list(pieces(samples, longest_seconds=3))
    assert found[0].start == 0
    assert found[-1].end == len(samples)
    assert all(before.end == after.start for before, after in pairwise(found))
    assert max(piece.end - piece.start for piece in found) <= 3 * 16_000
    assert list(pieces(samples, longest_seconds=60)) == [Span(0, len(samples))]


def test_availability_names_what_is_missing(store, tmp_path):
    budget = CoreBudget(tmp_path, 1)
    with_small = {row.model: row for row in FasterWhisper(model_store=store.directory, budget=budget).availability()}
    assert with_small["small"].available
    assert {"en", "jv", "yue"} <= set(with_small["small"].languages)
    without = FasterWhisper(model_store=tmp_path / "empty", budget=budget).availability()
    lacks = {(row.model, row.resource_class): row.lacks for row in without if not row.available}
    assert (
        lacks["small", "cpu"]
        == "weights of small are not in the model store: run `audiomill models pull faster-whisper small`"
    )
    assert ("large-v3-turbo", "gpu") in lacks


def test_english_only_models_say_so(store, weights, tmp_path):
    own = ModelStore(tmp_path)
    own.add("faster-whisper", "tiny.en", weights)
    rows = {
        row.model: row for row in FasterWhisper(model_store=tmp_path, budget=CoreBudget(tmp_path, 1)).availability()
    }
    assert rows["tiny.en"].languages == ("en",)


def test_what_it_cannot_load(store, tmp_path):
    engine = FasterWhisper(model_store=store.directory, budget=CoreBudget(tmp_path, 1))
    with pytest.raises(EngineUnavailable, match="models pull faster-whisper medium"):
        engine.load("medium", "cpu")
    with pytest.raises(EngineUnavailable, match="not on remote"):
        engine.load(None, "remote")
    with pytest.raises(RuntimeError, match="load a model"):
        engine.transcribe([], GREEDY)
    engine.close()


def test_weights_that_are_no_weights(tmp_path):
    rubbish = tmp_path / "rubbish"
    rubbish.mkdir()
    (rubbish / "model.bin").write_bytes(b"nothing")
    store = ModelStore(tmp_path / "store")
    store.add("faster-whisper", "small", rubbish)
    with pytest.raises(EngineUnavailable, match="cannot load the weights in 'small'"):
        FasterWhisper(model_store=store.directory, budget=CoreBudget(tmp_path, 1)).load(None, "cpu")


def test_identity_has_the_hash_of_the_weights(engine, store):
    assert engine.identity.model_sha256 == store.installed()[0].sha256
    assert (engine.identity.engine, engine.identity.model) == ("faster-whisper", "small")
    assert engine.identity.seed == SEED, "it draws random numbers, so a receipt must name what they start from"


class TestTogether:
    """Utterances of many recordings in one encode and generate: what is not `sequential`."""

    ORDER = TranscribeParameters(language="en", beam_size=2)

    @pytest.fixture
    def engine(self, engine, monkeypatch):
        """Random weights never say "end": bound what they say."""
        monkeypatch.setattr(engine._model, "max_length", 24)
        return engine

    def heard(self, engine, audios, order=ORDER) -> list[Transcript]:
        found = engine.transcribe(audios, order)
        assert all(isinstance(one, Transcript) for one in found), found
        return found

    def test_phrases_and_words_with_times_from_the_utterances_start(self, engine):
        (found,) = self.heard(engine, [noise(1)])
        words = [word for segment in found.segments for word in segment.words]
        assert words
        assert found.duration_seconds == 1
        assert all(0 <= word.start_seconds <= word.end_seconds <= 1 and 0 <= word.confidence <= 1 for word in words)
        assert all(segment.text.startswith(segment.words[0].text) for segment in found.segments)
        assert all(type(segment.start_seconds) is float for segment in found.segments), "no numpy types"

    def test_packing_order_and_batch_size_change_no_text(self, engine, monkeypatch):
        audios = [noise(1 + seed, seed) for seed in range(5)]
        alone = [self.heard(engine, [audio])[0] for audio in audios]
        assert len({one.text for one in alone}) > 1
        for order in ((4, 2, 0, 1, 3), (3, 3, 1)):
            assert self.heard(engine, [audios[index] for index in order]) == [alone[index] for index in order]
        asked = []
        generate = faster_whisper.decoded
        monkeypatch.setattr(faster_whisper, "decoded", lambda *a: (asked.append(len(a[1])), generate(*a))[1])
        self.heard(engine, audios)
        assert asked == [1] * 5, "on a CPU what shares a batch could change the last bits"

    def test_a_batch_gives_each_its_own(self, engine, monkeypatch):
        """As on a GPU. The tiny model is small enough for the same bits."""
        audios = [noise(1 + seed, seed) for seed in range(5)]
        alone = self.heard(engine, audios)
        monkeypatch.setattr(faster_whisper, "_CPU_BATCH", 3)
        asked = []
        generate = faster_whisper.decoded
        monkeypatch.setattr(faster_whisper, "decoded", lambda *a: (asked.append(len(a[1])), generate(*a))[1])
        together = self.heard(engine, audios)
        assert asked == [3, 2]
        assert [one.text for one in together] == [one.text for one in alone]
        for one, other in zip(together, alone, strict=True):
            assert [segment.end_seconds for segment in one.segments] == pytest.approx(
                [segment.end_seconds for segment in other.segments], abs=0.05
            )

    def test_what_breaks_the_library_is_found_in_its_batch(self, engine, monkeypatch):
        monkeypatch.setattr(faster_whisper, "_CPU_BATCH", 3)
        generate = faster_whisper.decoded

        def broken(model, batch, params, language):
            if any(len(each) == 2 * 16_000 for each in batch):
                raise RuntimeError("no such token")
            return generate(model, batch, params, language)

        monkeypatch.setattr(faster_whisper, "decoded", broken)
        first, bad, last = engine.transcribe([noise(1), noise(2), noise(3)], self.ORDER)
        assert isinstance(bad, EngineFailed)
        assert isinstance(first, Transcript)
        assert isinstance(last, Transcript)

    def test_the_language_is_heard_before_the_text(self, engine):
        order = self.ORDER.model_copy(update={"language": "auto", "vad": False})
        assert engine.hears_language_first(order)
        assert not engine.hears_language_first(self.ORDER)
        assert not engine.hears_language_first(order.model_copy(update={"sequential": True}))
        first, second = engine.detect([noise(3), noise(4, 1)])
        assert re.fullmatch(r"[a-z]{2,3}", first.language)
        assert 0 < first.probability <= 1
        assert engine.detect([noise(4, 1)]) == [second]
        (found,) = recordings.transcribed(engine, [noise(3)], order)
        assert (found.language, found.language_probability) == (first.language, first.probability)

    def test_utterances_fill_the_window_and_no_more(self, engine):
        long = noise(100)
        spans = list(engine.utterances(long, self.ORDER.model_copy(update={"vad": False})))
        assert spans[0].start == 0
        assert spans[-1].end == 100 * 16_000
        assert all(before.end == after.start for before, after in pairwise(spans))
        assert max(span.end - span.start for span in spans) <= 30 * 16_000
        assert len(spans) <= 5
        assert list(engine.utterances(long, self.ORDER)) == [], "nobody speaks"
        assert list(engine.utterances(long, GREEDY)) == [Span(0, 100 * 16_000)]

    def test_terms_and_a_prompt_reach_the_prompt(self, engine, monkeypatch):
        asked = []
        get_prompt = type(engine._model).get_prompt
        monkeypatch.setattr(
            type(engine._model), "get_prompt", lambda model, *a, **b: (asked.append(b), get_prompt(model, *a, **b))[1]
        )
        order = self.ORDER.model_copy(update={"hotwords": ("Ab", "Cd"), "initial_prompt": "Hm."})
        self.heard(engine, [noise(1)], order)
        assert asked == [{"without_timestamps": True, "hotwords": "Ab, Cd"}]
