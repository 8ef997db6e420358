"""Lines through a translator: one call for all, those that came translated left alone, a lost term told."""

from audiomill.engines.translation.protocol import Pair
from audiomill.errors import BadInput, EngineFailed
from audiomill.lines.document import Line, Lines
from audiomill.stages.translate.sentences import order_of, translated, units, with_translations


class Scripted:
    """A translator that shouts; loses the glossary where it is told to."""

    def __init__(self, lose=(), fail=()):
        self.calls, self._lose, self._fail = [], lose, fail

    def translate(self, sentences, order, progress=None):
        self.calls.append(([sentence.text for sentence in sentences], dict(order.glossary)))
        return [
            BadInput("That is too long. Split it.", code="sentence_too_long")
            if sentence.text in self._fail
            else EngineFailed("lost", code="glossary_lost")
            if sentence.text in self._lose and order.glossary
            else sentence.text.upper()
            for sentence in sentences
        ]


def lines(*texts, translations=None, source="en"):
    translations = translations or [None] * len(texts)
    return Lines(
        source_language=source,
        target_language="es",
        duration_ms=60_000,
        lines=tuple(
            Line(id=f"L{at}", start_ms=at * 1000, end_ms=at * 1000 + 900, text=text, translation=translation)
            for at, (text, translation) in enumerate(zip(texts, translations, strict=True))
        ),
    )


def done(document, engine, glossary=None):
    found = units(document)
    answers = translated(engine, [sentence for _, sentence in found], order_of(document, glossary or {}))
    return found, dict(zip([place for place, _ in found], answers, strict=True))


def test_all_lines_go_in_one_call_with_those_before_them():
    document, engine = lines("one", "two", "three", "four"), Scripted()
    found, answers = done(document, engine)
    assert engine.calls == [(["one", "two", "three", "four"], {})]
    assert [sentence.context for _, sentence in found] == [(), ("one",), ("one", "two"), ("two", "three")]
    told, checks = with_translations(document, answers)
    assert [line.translation for line in told.lines] == ["ONE", "TWO", "THREE", "FOUR"]
    assert [(check.name, check.passed) for check in checks] == [("glossary_lost", True)]
    assert order_of(document, {"a": "b"}).pair == Pair("en", "es")


def test_what_came_translated_is_left_alone():
    document = lines("one", "two", translations=["uno", None])
    found, answers = done(document, Scripted())
    assert [place for place, _ in found] == [1]
    assert [line.translation for line in with_translations(document, answers)[0].lines] == ["uno", "TWO"]


def test_a_line_that_loses_a_term_is_translated_without_and_told():
    document, engine = lines("one", "two", "three"), Scripted(lose=("two",))
    _, answers = done(document, engine, {"one": "uno"})
    assert engine.calls == [(["one", "two", "three"], {"one": "uno"}), (["two"], {})]
    told, (check,) = with_translations(document, answers)
    assert [line.translation for line in told.lines] == ["ONE", "TWO", "THREE"]
    assert (check.passed, check.value) == (False, 1)
    assert check.reason.endswith(".")


def test_an_error_of_one_line_is_that_lines():
    _, answers = done(lines("one", "two"), Scripted(fail=("two",)))
    assert answers[0] == ("ONE", True)
    assert isinstance(answers[1], BadInput)
