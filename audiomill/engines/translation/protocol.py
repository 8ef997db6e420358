"""What an engine of translation is: sentences of one pair of languages in, texts out, as many and in that order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from audiomill.engines.protocol import Engine, Progress
from audiomill.errors import AudiomillError, BadInput


@dataclass(frozen=True)
class Pair:
    """From one language to another: BCP 47 tags, lower case."""

    source: str
    target: str


@dataclass(frozen=True)
class LackingPair:
    """A pair that would be there, and what must be installed for it."""

    pair: Pair
    lacks: str


@dataclass(frozen=True)
class Sentence:
    """What is to be translated. context: the sentences before it, nearest last; engines that cannot use them do not."""

    text: str
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class TranslationOrder:
    """How: which pair, and terms that must come out as they stand here (source term to target term)."""

    pair: Pair
    glossary: Mapping[str, str] = field(default_factory=dict)


class Translator(Engine, Protocol):
    """Translates."""

    def pairs(self) -> tuple[Pair, ...]:
        """What it speaks here, now. Never raises."""
        ...

    def lacking(self) -> tuple[LackingPair, ...]:
        """What it would speak, and what is missing for it."""
        ...

    def translate(
        self, sentences: Sequence[Sentence], order: TranslationOrder, progress: Progress | None = None
    ) -> list[str | AudiomillError]:
        """One text per sentence, in order; an empty sentence gives an empty text. Or the error of that item alone.

        How sentences are packed into calls changes no text. Raises BadInput (`pair_not_supported`), and EngineFailed
        only when the engine itself broke and no text of the call can be trusted.
        """
        ...


def served(pair: Pair, known: Sequence[Pair]) -> Pair | None:
    """The known pair that serves an order: itself, else without its region (`en-gb` by `en`), else a region of it."""
    for source in (pair.source.lower(), pair.source.lower().split("-")[0]):
        for target in (pair.target.lower(), pair.target.lower().split("-")[0]):
            if Pair(source, target) in known:
                return Pair(source, target)
    bases = (pair.source.lower().split("-")[0], pair.target.lower().split("-")[0])
    return next((one for one in known if (one.source.split("-")[0], one.target.split("-")[0]) == bases), None)


def not_supported(engine: str, pair: Pair, known: Sequence[Pair]) -> BadInput:
    """The sentence for a pair that an engine does not speak."""
    shown = ", ".join(f"{one.source} to {one.target}" for one in known[:20]) or "nothing here"
    return BadInput(
        f"{engine} cannot translate from {pair.source} to {pair.target}. It translates {shown}. Choose another engine, "
        "or bring subtitles in the target language.",
        code="pair_not_supported",
    )
