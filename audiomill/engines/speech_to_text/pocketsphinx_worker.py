"""What runs in a worker process of the pocketsphinx engine: one decoder, one utterance after the other.

Imports next to nothing, so that a worker starts quickly. The engine is in pocketsphinx.py.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiomill.decoding.confinement import end_with
from audiomill.engines.cores import CoreBudget

if TYPE_CHECKING:
    from pocketsphinx import Decoder

_FRAMES_PER_SECOND = 100
# <s>, <sil>, [NOISE], [SPEECH], ++uh++: what the recogniser hears between words.
_FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
_PRONUNCIATION = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class HeardWord:
    """A word of one utterance: seconds from the utterance's start, posterior probability 0 to 1."""

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


class _Worker:
    """This process's budget and decoder."""

    budget: CoreBudget | None = None
    decoder: "Decoder | None" = None


def start(budget_directory: Path, cores: int, parent: int) -> None:
    """Called once in each worker process: builds the decoder (0.4 s).

    The kernel ends it with its parent, whatever either of them is doing: one that is stopped would keep its core.
    """
    end_with(parent)
    _Worker.budget = CoreBudget(budget_directory, cores)
    with _Worker.budget.take(1):
        _build()


def model_folder() -> Path:
    """Where the package's US English model is: the one that a decoder takes by default."""
    from pocketsphinx import get_model_path

    return Path(get_model_path("en-us"))


def _build() -> "Decoder":
    from pocketsphinx import Decoder

    # batch: normalise by the utterance's own cepstral mean, not by a running one that remembers other recordings.
    _Worker.decoder = Decoder(cmn="batch", loglevel="FATAL")
    return _Worker.decoder


def ready() -> int:
    """This process's id: the decoder is built."""
    return os.getpid()


def decode(pcm: bytes) -> list[HeardWord]:
    """Recognise one utterance of 16-bit mono samples at 16 kHz. Takes one core. Raises RuntimeError.

    The result depends on the samples alone: `reinit_feat` (0.1 ms) forgets the filter state and the cepstral mean of
    what was decoded before. Without it 19 of 20 repeated decodings differed, with it none.
    """
    if not pcm:
        return []
    budget = _Worker.budget
    if budget is None:
        raise RuntimeError("start() was not called in this worker")
    with budget.take(1):
        decoder = _Worker.decoder or _build()
        decoder.reinit_feat()
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, no_search=False, full_utt=True)
        finally:
            decoder.end_utt()
        # An utterance too short for one frame has no hypothesis, and asking for its words would fail.
        return _words(decoder) if decoder.hyp() is not None else []


def _words(decoder: "Decoder") -> list[HeardWord]:
    result = []
    for part in decoder.seg():
        if _FILLER.fullmatch(part.word):
            continue
        result.append(
            HeardWord(
                _PRONUNCIATION.sub("", part.word),
                part.start_frame / _FRAMES_PER_SECOND,
                (part.end_frame + 1) / _FRAMES_PER_SECOND,
                min(1.0, max(0.0, float(part.prob))),
            )
        )
    return result
