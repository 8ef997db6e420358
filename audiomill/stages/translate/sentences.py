"""Lines as an engine translates them, and lines with its answers. What translates is audiomill.engines.translation."""

from collections.abc import Mapping, Sequence

from audiomill.engines.protocol import Progress
from audiomill.engines.translation.protocol import Pair, Sentence, TranslationOrder, Translator
from audiomill.errors import AudiomillError, EngineFailed
from audiomill.lines.document import LONGEST_TEXT, Line, Lines
from audiomill.quality import Check

_CONTEXT_LINES = 2
_GLOSSARY_LOST = "glossary_lost"


def order_of(lines: Lines, glossary: Mapping[str, str]) -> TranslationOrder:
    """What is asked of the engine: all lines of equal orders may share a call."""
    return TranslationOrder(Pair(lines.source_language.lower(), lines.target_language.lower()), dict(glossary))


def units(lines: Lines) -> list[tuple[int, Sentence]]:
    """(the line's place, what is to be translated) of each line that has no translation."""
    return [
        (place, Sentence(line.text, tuple(one.text for one in lines.lines[max(0, place - _CONTEXT_LINES) : place])))
        for place, line in enumerate(lines.lines)
        if line.translation is None
    ]


def translated(
    engine: Translator, sentences: Sequence[Sentence], order: TranslationOrder, progress: Progress | None = None
) -> list[tuple[str, bool] | AudiomillError]:
    """(text, whether it keeps to the glossary) of each, in one call; a second one for those that lost a term."""
    results = engine.translate(sentences, order, progress)
    lost = [
        place
        for place, result in enumerate(results)
        if isinstance(result, EngineFailed) and result.code == _GLOSSARY_LOST
    ]
    again = engine.translate([sentences[place] for place in lost], TranslationOrder(order.pair)) if lost else []
    plainly = dict(zip(lost, again, strict=True))
    return [_kept(plainly.get(place, result), place not in plainly) for place, result in enumerate(results)]


def _kept(result: str | AudiomillError, by_glossary: bool) -> tuple[str, bool] | AudiomillError:
    return (result, by_glossary) if isinstance(result, str) else result


def with_translations(lines: Lines, answers: Mapping[int, tuple[str, bool]]) -> tuple[Lines, list[Check]]:
    """The lines with their translations by place, and what the receipt says of them."""
    told: list[Line] = []
    for place, line in enumerate(lines.lines):
        answer = answers.get(place)
        told.append(line if answer is None else line.model_copy(update={"translation": answer[0][:LONGEST_TEXT]}))
    lost = sum(not by_glossary for _, by_glossary in answers.values())
    reason = f"{lost} lines lost a term of the glossary and were translated without it: look at them in lines.json."
    check = Check(_GLOSSARY_LOST, lost == 0, lost, 0, None if not lost else reason)
    return lines.model_copy(update={"lines": tuple(told)}), [check]
