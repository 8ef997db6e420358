"""espeak-ng: the same bytes whatever came before, word times, every text that cannot be spoken."""

import hashlib
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from audiomill.catalogue.speaking import least_seconds
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.cutting import chunks
from audiomill.engines.text_to_speech.espeak import Espeak, choose_voice
from audiomill.engines.text_to_speech.espeak_library import voices
from audiomill.engines.text_to_speech.protocol import Speech
from audiomill.errors import BadInput, EngineUnavailable, LimitExceeded

TEXTS = ("The cat sat on the mat.", "Is it really raining in Berlin today?", "99 bottles of beer.")

# Languages whose dictionaries know no digits.
GREETINGS = {"iro/chr": "ᎣᏏᏲ", "trk/cv": "салам", "art/sjn": "mellon"}


@pytest.fixture
def engine(tmp_path):
    engine = Espeak(model_store=tmp_path, budget=CoreBudget(tmp_path / "cores", 2))
    engine.load(None, "cpu")
    return engine


def spoken(engine, text, **params) -> Speech:
    result = engine.synthesize([text], SynthesizeParameters(**params))[0]
    assert isinstance(result, Speech), result
    return result


def refused(engine, text, **params) -> BadInput:
    result = engine.synthesize([text], SynthesizeParameters(**params))[0]
    assert isinstance(result, BadInput), result
    return result


def samples(speech: Speech) -> bytes:
    return np.ascontiguousarray(speech.audio.samples).tobytes()


def test_the_same_bytes_whatever_was_spoken_before(engine):
    alone = {text: samples(spoken(engine, text)) for text in TEXTS}
    spoken(engine, "Guten Tag.", language="de", rate_wpm=300, pitch=90)
    for text in (TEXTS[2], TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[2]):
        assert samples(spoken(engine, text)) == alone[text]
    together = engine.synthesize(list(reversed(TEXTS)), SynthesizeParameters())
    assert [samples(speech) for speech in together] == [alone[text] for text in reversed(TEXTS)]


def test_the_same_bytes_in_another_process(engine, tmp_path):
    code = (
        "import sys, hashlib, numpy as np; from pathlib import Path\n"
        "from audiomill.engines.text_to_speech.espeak import Espeak; from audiomill.engines.cores import CoreBudget\n"
        "from audiomill.catalogue.synthesize import SynthesizeParameters\n"
        "engine = Espeak(model_store=Path(sys.argv[1]), budget=CoreBudget(Path(sys.argv[1]) / 'c', 1))\n"
        "speech = engine.synthesize([sys.argv[2]], SynthesizeParameters())[0]\n"
        "print(hashlib.sha256(np.ascontiguousarray(speech.audio.samples).tobytes()).hexdigest())"
    )
    spoken(engine, TEXTS[1])
    here = hashlib.sha256(samples(spoken(engine, TEXTS[0]))).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), TEXTS[0]], check=True, capture_output=True, text=True
    )
    assert there.stdout.strip() == here


def test_the_same_bytes_from_several_threads_at_once(engine):
    alone = {text: samples(spoken(engine, text)) for text in TEXTS}
    wrong: list[str] = []

    def work(order) -> None:
        wrong.extend(text for text in order if samples(spoken(engine, text)) != alone[text])

    threads = [threading.Thread(target=work, args=(order,)) for order in (TEXTS * 3, TEXTS[::-1] * 3, TEXTS[1:] * 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_words_as_written_with_rising_times(engine):
    speech = spoken(engine, "Hello wörld — it’s 25 o'clock, Dr. Smith. Second sentence here!")
    assert [word.text for word in speech.words] == [
        "Hello", "wörld", "it’s", "25", "o'clock,", "Dr.", "Smith.", "Second", "sentence", "here!",
    ]  # fmt: skip
    times = [time for word in speech.words for time in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert all(word.end_seconds > word.start_seconds for word in speech.words)
    assert times[-1] <= speech.audio.seconds
    long = next(word for word in speech.words if word.text == "sentence")
    short = next(word for word in speech.words if word.text == "it’s")
    assert long.end_seconds - long.start_seconds > short.end_seconds - short.start_seconds


@pytest.mark.parametrize(
    ("text", "language", "joined"),
    [("今天天气很好。我们去公园。", "zh", "今天天气很好。我们去公园。"), ("สวัสดีครับ", "th", "สวัสดีครับ")],
)
def test_scripts_without_spaces_keep_every_character(engine, text, language, joined):
    assert "".join(word.text for word in spoken(engine, text, language=language).words) == joined


def test_rate_and_pitch_and_voice_are_heard(engine):
    plain = spoken(engine, TEXTS[0])
    assert spoken(engine, TEXTS[0], rate_wpm=350).audio.seconds < plain.audio.seconds / 1.5
    assert samples(spoken(engine, TEXTS[0], pitch=90)) != samples(plain)
    scottish = spoken(engine, TEXTS[0], voice="English (Scotland)")
    assert samples(scottish) != samples(plain)
    assert samples(spoken(engine, TEXTS[0], voice="gmw/en-GB-scotland")) == samples(scottish)


@pytest.mark.parametrize(
    ("language", "identifier"),
    [("en", "gmw/en"), ("en-us", "gmw/en-US"), ("EN_us", "gmw/en-US"), ("en-au", "gmw/en"), ("pt", "roa/pt"),
     ("es-419", "roa/es-419"), ("chr", "iro/chr"), ("no", "gmq/nb")],
)  # fmt: skip
def test_the_voice_of_a_language(language, identifier):
    assert choose_voice(language, None).identifier == identifier


def test_every_language_listed_can_be_spoken(engine, capfd):
    rows = engine.availability()
    assert [row.available for row in rows] == [True]
    assert len(rows[0].languages) > 100
    for voice in voices():
        spoken(engine, GREETINGS.get(voice.identifier, "1"), voice=voice.identifier)
    assert capfd.readouterr().err == "", "a voice without its dictionary says so here"


@pytest.mark.parametrize(
    ("text", "params", "code", "says"),
    [
        ("", {}, "empty_text", "empty"),
        (" \n\t ", {}, "empty_text", "empty"),
        ("a\x01b", {}, "control_characters", r"U\+0001 at character 2"),
        ("abc\x00", {}, "control_characters", r"U\+0000 at character 4"),
        ("abc\ud800", {}, "control_characters", r"U\+D800"),
        ("...", {}, "nothing_to_speak", "nothing that espeak-ng can speak"),
        ("hello", {"language": "tlh"}, "no_voice", "no voice for the language 'tlh'"),
        ("hello", {"language": "enn"}, "no_voice", r"Perhaps you want: en"),
        ("hello", {"voice": "English (Scottland)"}, "no_voice", r"English \(Scotland\)"),
        ("hello", {"voice": "zzzzzzz"}, "no_voice", "GET /v1/engines"),
    ],
)
def test_what_cannot_be_spoken_says_why(engine, text, params, code, says):
    error = refused(engine, text, **params)
    assert error.code == code
    assert re.search(says, str(error))


def test_a_bad_text_fails_alone(engine):
    first, second, third = engine.synthesize([TEXTS[0], "", TEXTS[0]], SynthesizeParameters())
    assert isinstance(second, BadInput)
    assert samples(first) == samples(third)


def test_line_breaks_and_emoji_are_text(engine):
    assert [word.text for word in spoken(engine, "One\r\n\ttwo\f😀").words] == ["One", "two", "😀"]


def test_long_texts_are_spoken_in_chunks_from_a_file(engine, monkeypatch):
    text = "This is sentence number five. " * 200
    monkeypatch.setattr("audiomill.audio.spool.IN_MEMORY_BYTES", 10_000)
    shares = []
    speech = engine.synthesize([text], SynthesizeParameters(rate_wpm=450), lambda _, share: shares.append(share))[0]
    assert isinstance(speech.audio.samples, np.memmap)
    assert len(speech.words) == 1000
    starts = [word.start_seconds for word in speech.words]
    assert starts == sorted(starts)
    assert speech.audio.seconds >= speech.words[-1].end_seconds > 120
    assert len(shares) == 4
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_what_progress_raises_stops_the_speaking(engine):
    calls = []

    def cancel(index: int, share: float) -> None:
        calls.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.synthesize(["A sentence. " * 2000], SynthesizeParameters(), cancel)
    assert len(calls) == 1
    assert spoken(engine, TEXTS[0]).audio.seconds > 0


@pytest.mark.parametrize("text", ["A. " * 3000, "word " * 2000, "x" * 5000, "文。" * 3000, "short"])
def test_chunks_lose_nothing(text):
    found = list(chunks(text, 1000))
    assert "".join(chunk for _, chunk in found) == text
    assert all(0 < len(chunk) <= 1000 for _, chunk in found)
    assert [start for start, _ in found] == [
        sum(len(chunk) for _, chunk in found[:index]) for index in range(len(found))
    ]


def test_models_and_gpus_are_refused(engine):
    with pytest.raises(EngineUnavailable, match="no models"):
        engine.load("large", "cpu")
    with pytest.raises(EngineUnavailable, match="CPU only"):
        engine.load(None, "gpu")


def test_identity_names_the_library(engine):
    assert engine.identity.version.startswith("1.5")
    assert len(engine.identity.model_sha256) == 64


class TestLength:
    """A text is no recording: how long its speech is has to be known before, or found while speaking."""

    def test_speaking_stops_at_the_limit(self, engine):
        heard = []
        text = "W.\n\n" * 4_000  # an hour and more, each letter a paragraph of its own
        result, good = engine.synthesize(
            [text, TEXTS[0]],
            SynthesizeParameters(),
            lambda index, share: heard.append((index, share)),
            longest_seconds=60,
        )
        assert isinstance(result, LimitExceeded)
        assert result.code == "speech_too_long"
        assert "Split it into several texts" in str(result)
        assert max((share for index, share in heard if index == 0), default=0) < 0.5, "it was given up soon"
        assert not isinstance(good, Exception)

    def test_much_speech_of_few_letters_lies_in_a_file(self, engine):
        """Memory is counted in samples: 20,000 characters of single letters are hours."""
        speech = engine.synthesize(["W.\n\n" * 1_000], SynthesizeParameters())[0]
        assert speech.audio.samples.nbytes > 64 * 1024**2
        assert isinstance(speech.audio.samples, np.memmap)

    @pytest.mark.parametrize("rate", [80, 175, 450])
    @pytest.mark.parametrize("language", ["en-us", "de", "es", "fr-fr", "pl", "ru", "cmn", "ja", "hi", "ar"])
    def test_the_least_is_less_than_it_takes_and_not_by_far(self, engine, language, rate):
        text = PROSE[language] * 5
        speech = engine.synthesize([text], SynthesizeParameters(language=language, rate_wpm=rate))[0]
        assert 0.25 * speech.audio.seconds < least_seconds(text, rate_wpm=rate) < speech.audio.seconds


PROSE = {
    "en-us": "The committee decided yesterday that the new road would be built in spring, and nobody was surprised. ",
    "de": "Der Ausschuss hat gestern beschlossen, die neue Straße erst im Frühjahr zu bauen. ",
    "es": "El comité decidió ayer construir la nueva carretera en primavera, a las 10 de la mañana. ",
    "fr-fr": "Le comité a décidé hier de construire la nouvelle route au printemps, et personne ne fut surpris. ",
    "pl": "Komitet postanowił wczoraj zbudować nową drogę dopiero na wiosnę. ",
    "ru": "Комитет вчера решил построить новую дорогу только весной. ",
    "cmn": "委员会昨天决定春天再修建新路。",
    "ja": "いいんかいはきのうあたらしいみちをはるにつくることをきめました。",
    "hi": "समिति ने कल नई सड़क को वसंत में बनाने का निर्णय लिया। ",
    "ar": "قررت اللجنة أمس بناء الطريق الجديد في الربيع. ",
}


def test_a_voice_that_breathes_breathes_the_same_at_any_time(engine):
    """Its breath is noise that the library starts from the time of day, in seconds."""
    params = SynthesizeParameters(language="es", voice="+f2")
    spoken, began = [], int(time.time())
    for second in range(3):
        while time.time() < began + second:
            time.sleep(0.05)
        spoken.append(engine.synthesize(["Entonces tenemos tiempo para un café."], params)[0].audio.samples.tobytes())
    assert spoken[0] == spoken[1] == spoken[2]
