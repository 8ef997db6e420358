"""What the benchmarks work on: clips cut from speech that espeak-ng speaks, and texts. No two are alike, so that no
result of one serves another; the same number gives the same bytes, so that two runs can be compared.

Not here: measuring.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from audiomill.audio import Audio
from audiomill.audio.encode import encode
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.engines.text_to_speech.protocol import Speech

CLIP_SECONDS = 5.0
WORDS_PER_TEXT = 13
"""About five seconds at espeak-ng's 175 words a minute."""

SENTENCES_PER_TAKE = 12
"""Spoken in one piece, about a minute, then cut: most clips begin and end in the middle of a word."""

_VOCABULARY = """
people water morning river garden window letter market village teacher doctor summer winter engine
paper music station mountain number picture country weather business question answer kitchen bridge
forest island harbor small large early quiet simple yellow heavy ready open final certain common
careful narrow modern ancient walks carries follows opens answers remembers believes watches builds
moves reads writes brings keeps finds slowly often always never together again today tomorrow before
after under over between around behind through
"""
_WORDS = _VOCABULARY.split()


def sentence(number: int) -> str:
    """A sentence of its own for each number: words at random, seeded by the number."""
    chosen = random.Random(f"audiomill sentence {number}").choices(_WORDS, k=WORDS_PER_TEXT)
    return f"{' '.join(chosen).capitalize()}."


def texts(count: int) -> Iterator[str]:
    """Texts of about five seconds."""
    return (f"{sentence(number)}\n" for number in range(count))


def clips(count: int) -> Iterator[bytes]:
    """WAV files (22,050 Hz, mono, 16 bits) of exactly `CLIP_SECONDS`."""
    with tempfile.TemporaryDirectory(prefix="audiomill-corpus-") as folder:
        engine = Espeak(model_store=Path(folder), budget=CoreBudget(Path(folder) / "cores", 1))
        made = take = 0
        while made < count:
            for clip in _cut(_spoken(engine, take)):
                if made == count:
                    break
                yield encode(clip, "wav").data
                made += 1
            take += 1


def _spoken(engine: Espeak, take: int) -> Audio:
    first = take * SENTENCES_PER_TAKE
    text = " ".join(sentence(number) for number in range(first, first + SENTENCES_PER_TAKE))
    (result,) = engine.synthesize([text], SynthesizeParameters())
    if not isinstance(result, Speech):
        raise result
    return result.audio


def _cut(audio: Audio) -> Iterator[Audio]:
    length = round(CLIP_SECONDS * audio.sample_rate_hz)
    for start in range(0, audio.samples.shape[1] - length + 1, length):
        yield Audio(audio.samples[:, start : start + length], audio.sample_rate_hz)


def write_corpus(folder: Path, task: str, count: int) -> list[Path]:
    """Write `count` inputs of a task (`speech_to_text` or `text_to_speech`) and return them in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    if task == "text_to_speech":
        for number, text in enumerate(texts(count)):
            paths.append(folder / f"text-{number:05}.txt")
            paths[-1].write_text(text, encoding="utf-8")
        return paths
    for number, clip in enumerate(clips(count)):
        paths.append(folder / f"clip-{number:05}.wav")
        paths[-1].write_bytes(clip)
    return paths
