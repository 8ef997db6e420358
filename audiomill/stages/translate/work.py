"""The stage `translate`: lines in, the same lines with what they are in another language out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ConfigDict

from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.translation.protocol import Pair, Sentence, TranslationOrder, Translator
from audiomill.errors import AudiomillError, BadInput
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.lines.document import Lines
from audiomill.milling.parts import Hand, Looked, PartsMade, PartsWork, Reads
from audiomill.milling.stage import Opened, Unit
from audiomill.stages.translate.sentences import order_of, translated, units, with_translations

_SECONDS_A_LINE = 3.0
"""Of speech, about: what packing counts."""

Group = tuple[Pair, tuple[tuple[str, str], ...]]
"""The order, as something that can be compared."""

Answer = tuple[str, bool]


class Options(BaseModel):
    """glossary: terms and what they must be."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    glossary: dict[str, str] = {}


class Translating(PartsWork[Lines, Sentence, Answer, Answer]):
    """What the stream must know of this stage. Its units are lines; those of all items of one pair share a call."""

    def look(self, item: ClaimedItem, reads: Reads, folder: Path) -> Looked[Lines]:  # noqa: ARG002 - all in memory
        """Read the lines."""
        lines = Lines.from_json(reads["lines"].read_bytes())
        return Looked(lines, lines.duration_ms / 1000)

    def units(self, opened: Opened[Hand[Lines]]) -> Iterator[Unit[Sentence]]:
        """Every line that is still to be translated."""
        assert opened.material.own is not None  # noqa: S101 - not known
        order = order_of(opened.material.own, Options.model_validate(opened.item.options).glossary)
        group: Group = (order.pair, tuple(sorted(order.glossary.items())))
        for _, sentence in units(opened.material.own):
            yield Unit(sentence, _SECONDS_A_LINE, group)

    def run(self, engine: Engine, units: Sequence[Unit[Sentence]], progress: Progress) -> list[Answer | AudiomillError]:
        """One call, and another for lines that lost a term of the glossary."""
        pair, glossary = cast("Group", units[0].group)
        sentences = [unit.payload for unit in units]
        try:
            return [
                *translated(cast("Translator", engine), sentences, TranslationOrder(pair, dict(glossary)), progress)
            ]
        except BadInput as error:  # of the pair, or of the glossary: the same for each
            return [error for _ in units]

    def made(self, engine: Engine, opened: Opened[Hand[Lines]], kept: Sequence[Answer]) -> PartsMade:  # noqa: ARG002
        """The lines."""
        assert opened.material.own is not None  # noqa: S101 - not known
        lines = opened.material.own
        answers = dict(zip([place for place, _ in units(lines)], kept, strict=True))
        told, checks = with_translations(lines, answers)
        path = opened.folder / "lines.json"
        path.write_bytes(told.to_json())
        return PartsMade({"lines": path}, checks, opened.seconds)
