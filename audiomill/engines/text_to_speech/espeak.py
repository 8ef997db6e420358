"""espeak-ng as an engine: which voice, which text, what is refused, when each word is heard. The C is in
espeak_library.py.

The same text and parameters give the same samples, whatever was spoken before and in whatever process.
"""

import difflib
import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import structlog

from audiomill.audio.spool import Spool
from audiomill.catalogue.speaking import speech_too_long
from audiomill.catalogue.stages import ResourceClass
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.model_hash import folder_sha256
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.text_to_speech.cutting import chunks
from audiomill.engines.text_to_speech.espeak_library import (
    EVENT_WORD,
    Event,
    Voice,
    data_folder,
    session,
    variants,
    version,
    voices,
)
from audiomill.engines.text_to_speech.espeak_voices import voices_by_pitch
from audiomill.engines.text_to_speech.protocol import SpeakersVoice, Speech
from audiomill.errors import AudiomillError, BadInput, CustomerError, EngineUnavailable
from audiomill.faults import told
from audiomill.transcripts import Word

log = structlog.get_logger(__name__)

CHUNK_CHARACTERS = 2000
"""Spoken in one call into C at most: a minute or two of speech, some 0.2 s of work; between calls a run can stop."""

_WORD = re.compile(r"\S+")
# Scripts written without spaces: Thai to Tibetan, Burmese, Khmer, kana, CJK ideographs.
_UNSPACED = re.compile(r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_LAYOUT = frozenset("\t\n\r\f\v\x85")


class Espeak:
    """Formant synthesis in over 100 languages and accents."""

    longest_text = CHUNK_CHARACTERS

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:  # noqa: ARG002 - carries its own data
        self._budget = budget

    def availability(self) -> list[Availability]:
        """One row: all of it, or why not."""
        try:
            tags = sorted({tag for voice in voices() for _, tag in voice.languages})
        except (OSError, RuntimeError, AudiomillError) as error:
            log.warning("espeak-ng's library cannot be loaded", cause=told(error))
            return [Availability(None, "cpu", available=False, lacks="espeak-ng's library", languages=None)]
        return [Availability(None, "cpu", available=True, lacks=None, languages=tuple(tags))]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Check that the library starts. Raises EngineUnavailable."""
        if model is not None:
            raise EngineUnavailable(f"espeak-ng has no models to choose from, so not {model!r} either: leave it out.")
        if resource_class != "cpu":
            raise EngineUnavailable(f"espeak-ng runs on the CPU only, not on {resource_class}.")
        try:
            version()
        except (OSError, RuntimeError) as error:
            raise EngineUnavailable("espeak-ng's library cannot be loaded.") from error

    @property
    def identity(self) -> EngineIdentity:
        """The library's version and the hash of its data: voices, dictionaries, phonemes."""
        return EngineIdentity("espeak-ng", version(), None, folder_sha256(data_folder()))

    @property
    def usage(self) -> Usage:
        """One call at a time: the library is one global state. Many short texts, or a piece or two of a long one: the
        speech of a call is in memory until it is gathered.
        """
        return Usage(group_items=16, group_seconds=120, parallel_calls=1)

    def close(self) -> None:
        """Nothing is kept."""

    def voices_by_pitch(self, language: str, pitch_hz: Mapping[str, float | None]) -> Mapping[str, SpeakersVoice]:
        """Variants laid over the language's voice: `roa/es+f2`."""
        spoken = choose_voice(language, None)
        return {
            speaker: SpeakersVoice(f"{spoken.identifier}+{one.variant}", one.pitch)
            for speaker, one in voices_by_pitch(pitch_hz).items()
        }

    def synthesize(
        self,
        texts: Sequence[str],
        params: SynthesizeParameters,
        progress: Progress | None = None,
        *,
        longest_seconds: float = math.inf,
    ) -> list[Speech | AudiomillError]:
        """Speak each text.

        An item's error is BadInput with code empty_text, control_characters, nothing_to_speak or no_voice, or
        LimitExceeded (speech_too_long).
        """
        results: list[Speech | AudiomillError] = []
        for index, text in enumerate(texts):
            try:
                told = partial(progress, index) if progress is not None else None
                results.append(self._speak(text, params, longest_seconds, told))
            except CustomerError as error:
                results.append(error)
        return results

    def _speak(
        self, text: str, params: SynthesizeParameters, longest_seconds: float, progress: Callable[[float], None] | None
    ) -> Speech:
        check_text(text)
        voice = choose_voice(params.language, params.voice)
        starts: list[tuple[int, int]] = []
        words: list[Word] = []
        with Spool() as spool:
            written = 0
            rate = 0

            def keep(block: bytes) -> None:
                nonlocal written
                samples = np.frombuffer(block, np.int16).astype(np.float32) / np.float32(32_768)
                written += len(samples)
                if written > longest_seconds * rate:
                    raise speech_too_long(longest_seconds)
                spool.write(samples[:, None])

            with session() as library, self._budget.take(1):
                rate = library.sample_rate_hz
                library.set_voice(voice.identifier, params.rate_wpm, params.pitch)
                for start, chunk in chunks(text, CHUNK_CHARACTERS):
                    before = written
                    events = library.speak(chunk, keep)
                    starts += [(start, before)]
                    words += word_times(chunk, events, before, written, rate)
                    if progress is not None:
                        progress((start + len(chunk)) / len(text))
            audio = spool.finish(rate)
        if not words or not np.any(audio.samples):
            raise BadInput(
                "The text has nothing that espeak-ng can speak: no letters, digits or symbols that its voice "
                f"{voice.name!r} knows.",
                code="nothing_to_speak",
            )
        return Speech(audio, tuple(words))


def check_text(text: str) -> None:
    """Raises BadInput for a text that cannot be spoken whatever the voice."""
    if not text.strip():
        raise BadInput("The text is empty: there is nothing to speak.", code="empty_text")
    for position, character in enumerate(text):
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in _LAYOUT:
            raise BadInput(
                f"The text contains a control character (U+{ord(character):04X} at character {position + 1}): "
                "is it really a text file? Remove it and order again.",
                code="control_characters",
            )


def choose_voice(language: str, name: str | None) -> Voice:
    """The voice of that name or identifier; without a name the best for the language (RFC 4647, lookup).

    A variant laid over a voice is named behind a plus: `roa/es+f2`, or `+f2` for the language's voice. Raises BadInput
    with code no_voice, naming what comes near.
    """
    if name is None:
        return _of_language(language)
    base, plus, variant = name.partition("+")
    voice = _named(base) if base else _of_language(language)
    if not plus:
        return voice
    if variant not in variants():
        near = difflib.get_close_matches(variant, variants(), n=3, cutoff=0.4)
        raise BadInput(f"espeak-ng has no variant {variant!r} of a voice.{_perhaps(near)}", code="no_voice")
    return replace(voice, name=f"{voice.name}+{variant}", identifier=f"{voice.identifier}+{variant}")


def _named(name: str) -> Voice:
    known = voices()
    for voice in known:
        if name.casefold() in {voice.name.casefold(), voice.identifier.casefold()}:
            return voice
    names = {key: voice.name for voice in known for key in (voice.name, voice.identifier)}
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    raise BadInput(f"espeak-ng has no voice {name!r}.{_perhaps(near)}", code="no_voice")


def _of_language(language: str) -> Voice:
    known = voices()
    wanted = language.lower().replace("_", "-")
    while wanted:
        matches = [(priority, voice) for voice in known for priority, tag in voice.languages if tag == wanted]
        if matches:
            return min(matches, key=lambda match: match[0])[1]
        wanted = wanted.rpartition("-")[0]
    base = language.lower().replace("_", "-").split("-")[0]
    regional = [(priority, voice) for voice in known for priority, tag in voice.languages if tag.startswith(f"{base}-")]
    if regional:  # Cherokee is there as `chr-us-qaaa-x-west` only
        return min(regional, key=lambda match: match[0])[1]
    tags = {tag: voice for voice in known for _, tag in voice.languages}
    near = difflib.get_close_matches(language.lower(), tags, n=4, cutoff=0.5)
    raise BadInput(
        f"espeak-ng has no voice for the language {language!r}."
        + _perhaps([f"{tag} ({tags[tag].name})" for tag in near]),
        code="no_voice",
    )


def _perhaps(near: list[str]) -> str:
    return f" Perhaps you want: {', '.join(near)}." if near else " GET /v1/engines lists what there is."


def word_times(text: str, events: Sequence[Event], offset: int, end: int, rate_hz: int) -> list[Word]:
    """The words of one chunk, as written, with the times at which they are heard.

    espeak says where a word starts (its lengths are wrong for "it's" and "25"), sometimes several times in one written
    word: a word lasts from the first event in it to the next word's or the clause's end. Where a script has no spaces
    each event makes a word. `offset`, `end`: samples before the chunk and after it.
    """
    places = [match.start() for match in _WORD.finditer(text)]
    stops = [match.end() for match in _WORD.finditer(text)]
    result: list[Word] = []
    current: tuple[int, int, int] | None = None  # (place, stop, first sample)

    def finish(sample: int) -> None:
        if current is not None:
            place, stop, first = current
            # espeak's last event may lie a few samples after its last sample.
            last = min(offset + sample, end)
            result.append(Word(text[place:stop], min(offset + first, end) / rate_hz, last / rate_hz))

    for event in events:
        if event.kind != EVENT_WORD:
            finish(event.sample)
            current = None
            continue
        index = bisect_right(places, event.position) - 1
        if index < 0:
            continue
        place, stop = places[index], stops[index]
        if _UNSPACED.search(text, place, stop):
            place = min(event.position, stop - 1)
            later = [other.position for other in events if other.kind == EVENT_WORD and other.position > place]
            stop = min([*later, stops[index]])
        if current is not None and place == current[0]:
            continue
        finish(event.sample)
        current = (place, stop, event.sample)
    finish(end - offset)
    return result
