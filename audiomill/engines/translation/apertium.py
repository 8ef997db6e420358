"""apertium as an engine: rules and dictionaries of Debian's packages, one pipeline of processes for all sentences.

Each sentence is one message of its stream, ended by a NUL at which every program of the pipeline begins anew: sentences
know nothing of each other, and none can break the frame, whatever it holds. GPL-3, a program of its own beside ours.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.cores import CoreBudget
from audiomill.engines.deaths import proves
from audiomill.engines.model_hash import folder_sha256
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.translation.protocol import (
    LackingPair,
    Pair,
    Sentence,
    TranslationOrder,
    not_supported,
    served,
)
from audiomill.errors import AudiomillError, EngineFailed, EngineProcessDied, EngineProcessKilled, EngineUnavailable
from audiomill.transcripts.plain import plain

DATA = Path("/usr/share/apertium")
_LEAST_SECONDS, _SECONDS_PER_THOUSAND_CHARACTERS = 60.0, 2.0
"""What a call may take. Fifty lines take 0.8 s, and 10,000 characters another second."""

# ISO 639-3 of apertium's modes to what BCP 47 has for them.
_TAGS = {
    "afr": "af", "ara": "ar", "arg": "an", "bel": "be", "bre": "br", "bul": "bg", "cat": "ca", "cym": "cy", "dan": "da",
    "deu": "de", "eng": "en", "epo": "eo", "eus": "eu", "fra": "fr", "glg": "gl", "hin": "hi", "ind": "id", "isl": "is",
    "ita": "it", "kaz": "kk", "mkd": "mk", "mlt": "mt", "msa": "ms", "nld": "nl", "nno": "nn", "nob": "nb", "oci": "oc",
    "por": "pt", "ron": "ro", "rus": "ru", "slv": "sl", "spa": "es", "srd": "sc", "swe": "sv", "tat": "tt", "ukr": "uk",
    "urd": "ur",
}  # fmt: skip

_PACKAGES = {"apertium-eng-spa": ("en", "es"), "apertium-eng-cat": ("en", "ca"), "apertium-spa-cat": ("es", "ca"),
             "apertium-fra-cat": ("fr", "ca"), "apertium-swe-dan": ("sv", "da"), "apertium-swe-nor": ("sv", "nb"),
             "apertium-spa-ita": ("es", "it"), "apertium-por-cat": ("pt", "ca")}  # fmt: skip
"""Debian's, of the pairs most asked for: what `lacking` can name."""

_MODE = re.compile(r"([a-z]{2,3})(?:_([A-Za-z]{2,8}))?-([a-z]{2,3})(?:_([A-Za-z]{2,8}))?")
_RESERVED = re.compile(r"[\\^$/\[\]{}<>@*#+]")
_TILDE, _STAND_IN = "~", "\ue07e"
"""Some of its programs drop a tilde, escaped too; one of the private use area passes."""

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_BY_A_SIGNAL = 128
"""A shell's exit status above it tells of which signal a program of its pipeline died."""


class Apertium:
    """Shallow-transfer machine translation: readable, imperfect, the same each time."""

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:  # noqa: ARG002 - Debian's packages carry it
        self._budget = budget
        self._loaded: str | None = None

    def availability(self) -> list[Availability]:
        """One row, whose languages are the pairs that are installed (`en>es`); or what is missing when none is."""
        if _program() is None:
            return [Availability(None, "cpu", False, "the programs of Debian's package apertium", None)]
        pairs = tuple(sorted(f"{pair.source}>{pair.target}" for pair in sorted_modes()))
        lacks = None if pairs else "a pair of languages, as Debian's apertium-eng-spa"
        return [Availability(None, "cpu", lacks is None, lacks, pairs or None)]

    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that are installed, looked up now."""
        return tuple(sorted_modes()) if _program() is not None else ()

    def lacking(self) -> tuple[LackingPair, ...]:
        """The best known of the others, with their packages."""
        here = set(self.pairs())
        found = [
            LackingPair(pair, f"Debian's package {package}")
            for package, (one, other) in _PACKAGES.items()
            for pair in (Pair(one, other), Pair(other, one))
        ]
        return tuple(one for one in found if one.pair not in here)

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Choose a mode (`eng-spa`); without one each order brings its pair. Raises EngineUnavailable."""
        if resource_class != "cpu":
            raise EngineUnavailable(f"apertium runs on the CPU only, not on {resource_class}.")
        if not self.pairs():
            raise EngineUnavailable(f"apertium lacks {self.availability()[0].lacks}.")
        if model is not None and model not in sorted_modes().values():
            raise EngineUnavailable(f"apertium has no mode {model!r} here: install its pair's package.")
        self._loaded = model

    @property
    def identity(self) -> EngineIdentity:
        """The program's version and the hash of its pairs' data."""
        tags = tuple(sorted({tag for pair in self.pairs() for tag in (pair.source, pair.target)}))
        return EngineIdentity("apertium", _version(), self._loaded, folder_sha256(DATA), languages=tags)

    @property
    def usage(self) -> Usage:
        """All that there is in one call: starting the pipeline is most of its time."""
        return Usage(group_items=1000, group_seconds=600, parallel_calls=1)

    def close(self) -> None:
        """Nothing is kept."""
        self._loaded = None

    def translate(
        self, sentences: Sequence[Sentence], order: TranslationOrder, progress: Progress | None = None
    ) -> list[str | AudiomillError]:
        """Translate; the context is not used. An item's error: EngineFailed (`glossary_lost`).

        Raises EngineProcessDied when a process of it crashed, or hangs (`engine_took_too_long`), EngineProcessKilled
        when one was killed, or ended for nobody knows what.
        """
        modes = sorted_modes() if _program() is not None else {}
        pair = served(order.pair, tuple(modes))
        if pair is None:
            raise not_supported("apertium", order.pair, tuple(modes))
        terms = _Terms(order.glossary)
        texts = [plain(sentence.text) for sentence in sentences]
        messages = [_escaped(terms.hidden(text)) for text in texts]
        with self._budget.take(1):
            answers = _answers(modes[pair], messages) if any(texts) else ["" for _ in texts]
        results: list[str | AudiomillError] = []
        for index, (text, answer) in enumerate(zip(texts, answers, strict=True)):
            results.append(terms.shown(plain(answer), text) if text else "")
            if progress is not None:
                progress(index, 1.0)
        return results


class _Terms:
    """Glossary terms, as words that no dictionary has: those pass as they are, at their place in the sentence."""

    def __init__(self, glossary: Mapping[str, str]) -> None:
        self._terms = sorted(
            ((term, kept) for term, kept in glossary.items() if term.strip()), key=lambda one: -len(one[0])
        )
        self._pattern = (
            re.compile("|".join(rf"(?<!\w){re.escape(term)}(?!\w)" for term, _ in self._terms), re.IGNORECASE)
            if self._terms
            else None
        )
        self._kept = {term.casefold(): kept for term, kept in self._terms}

    def hidden(self, text: str) -> str:
        """The text with a word of our own in place of each term."""
        if self._pattern is None:
            return text
        numbers = iter(range(len(text)))
        return self._pattern.sub(lambda _: _word(next(numbers)), text)

    def shown(self, answer: str, text: str) -> str | AudiomillError:
        """The translation with the terms in their places; an error when one did not come through."""
        if self._pattern is None:
            return answer
        for number, found in enumerate(self._pattern.findall(text)):
            word = re.compile(re.escape(_word(number)), re.IGNORECASE)
            if len(word.findall(answer)) != 1:
                return EngineFailed("apertium lost a term of the glossary on its way.", code="glossary_lost")
            kept = self._kept[found.casefold()]
            answer = word.sub(lambda _, kept=kept: kept, answer)  # type: ignore[misc]
        return answer


def _word(number: int) -> str:
    """`Xqkzaavx`: of letters, for digits are words of their own; the last of its kind."""
    return "Xqkz" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03d}") + "vx"


def sorted_modes() -> dict[Pair, str]:
    """The modes that are installed, by pair."""
    found: dict[Pair, str] = {}
    for path in sorted((DATA / "modes").glob("*.mode")):
        if (match := _MODE.fullmatch(path.stem)) is not None:
            source, source_region, target, target_region = match.groups()
            found[Pair(_tag(source, source_region), _tag(target, target_region))] = path.stem
    return found


def _tag(language: str, region: str | None) -> str:
    return _TAGS.get(language, language) + (f"-{region.lower()}" if region else "")


def _escaped(text: str) -> str:
    return _RESERVED.sub(lambda match: "\\" + match[0], text).replace(_TILDE, _STAND_IN)


def _answers(mode: str, messages: Sequence[str]) -> list[str]:
    # An empty superblank ends each: without anything to hold on to some of the programs drop a sentence's last blank.
    data = "".join(f"{message}[]\0" for message in messages).encode()
    limit = _LEAST_SECONDS + _SECONDS_PER_THOUSAND_CHARACTERS * len(data) / 1000
    process = subprocess.Popen(  # noqa: S603 - a program of Debian's, and a mode that it has
        [str(_program()), "-u", "-z", "-f", "none", mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it repeats what it was given
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(data, timeout=limit)
    except subprocess.TimeoutExpired:
        # Counted as a crash, and no verdict yet: it may be the machine that is slow.
        raise EngineProcessDied(f"apertium did not answer within {limit:.0f} s.", code="engine_took_too_long") from None
    finally:
        _end(process)
    # Each program of the pipeline ends its own stream with a NUL more.
    parts = out.decode(errors="replace").split("\0")
    if process.returncode != 0 or len(parts) <= len(messages):
        raise _died(process.returncode)
    return [_ESCAPED.sub(r"\1", part.removesuffix("[]")).replace(_STAND_IN, _TILDE) for part in parts[: len(messages)]]


def _died(status: int) -> EngineProcessDied:
    """The shell says how the one that broke ended: 128 and its signal. How it ended itself only its parent knows."""
    number = -status if status < 0 else status - _BY_A_SIGNAL if status > _BY_A_SIGNAL else None
    kind = EngineProcessDied if proves(number) else EngineProcessKilled
    return kind(f"apertium's processes ended early (exit status {status}).")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The shell and all that it started; harmless when they are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _program() -> str | None:
    return shutil.which("apertium", path="/usr/bin:/bin")


@lru_cache(maxsize=1)
def _version() -> str:
    done = subprocess.run(  # noqa: S603
        [str(_program()), "-V"], capture_output=True, text=True, check=False, timeout=60, env={"PATH": "/usr/bin:/bin"}
    )
    match = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return match[0] if match else "unknown"
