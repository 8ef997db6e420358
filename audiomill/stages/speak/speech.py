"""The lines of a dub as units, and their sounds as one file, back to back. Where they are heard is mixing's part."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiomill.audio import Audio, encode_file
from audiomill.audio.spool import Spool
from audiomill.catalogue.speaking import least_seconds, lines_too_long
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.text_to_speech.protocol import Speech
from audiomill.errors import AudiomillError, BadInput
from audiomill.lines.document import Lines
from audiomill.lines.places import places, spoken_ms
from audiomill.quality import Check

_STEPS = 32_768
_SILENT = 0.005
"""Of the loudest sample, -46 dB: what is quieter at either end is the voice's rest, not its speech."""

_KEPT_SECONDS = 0.02
"""Of that rest, so that no sound is cut that begins or ends softly."""

_UNSPEAKABLE = {"empty_text", "nothing_to_speak"}


@dataclass(frozen=True)
class LineUnit:
    """A line to be spoken: all that its sound depends on, with the engine. place: in the document."""

    place: int
    line_id: str
    text: str
    parameters: SynthesizeParameters


def units(lines: Lines, rate_wpm: int) -> list[LineUnit]:
    """Every line. Raises ValueError for one that was not translated."""
    found = []
    for place, line in enumerate(lines.lines):
        if line.translation is None:
            raise ValueError(f"line {line.id} was not translated")
        pitch = 50 if line.voice_pitch is None else line.voice_pitch
        parameters = SynthesizeParameters(
            language=lines.target_language, voice=line.voice, rate_wpm=rate_wpm, pitch=pitch
        )
        found.append(LineUnit(place, line.id, line.translation, parameters))
    return found


def check_length(lines: Lines, rate_wpm: int, longest_seconds: float) -> None:
    """Before any is spoken. Raises LimitExceeded (`speech_too_long`)."""
    if sum(least_seconds(line.translation or "", rate_wpm=rate_wpm) for line in lines.lines) > longest_seconds:
        raise lines_too_long(longest_seconds)


@dataclass(frozen=True)
class Unspoken:
    """A line that holds nothing to speak: silence."""


def or_unspoken(unit: LineUnit, result: Speech | AudiomillError) -> Speech | Unspoken | AudiomillError:
    """What an engine made of a line; its error with the line's name."""
    if not isinstance(result, BadInput):
        return result
    if result.code in _UNSPEAKABLE:
        return Unspoken()
    return BadInput(f"Line {unit.line_id} cannot be spoken: {result.message}", code=result.code)


class SpokenLines:
    """Keeps lines as they are spoken, in any order, and makes the file and the document of them."""

    def __init__(self, lines: Lines, folder: Path, *, longest_seconds: float = math.inf) -> None:
        """`longest_seconds`: of all of them together."""
        self._lines, self._folder, self._longest_seconds = lines, folder, longest_seconds
        self._spoken = 0
        self._samples: dict[int, int] = {}
        self._rate_hz = 0
        self._unspoken = 0

    def keep(self, place: int, result: Speech | Unspoken) -> None:
        """A line's sound, to disk. Raises LimitExceeded (`speech_too_long`) where all until now are too long."""
        if isinstance(result, Unspoken):
            self._samples[place] = 0
            self._unspoken += 1
            return
        # First to the 16 bits that a line is kept with, so that one that is recalled is cut at the same sample.
        audio = trimmed(_stepped(result.audio))
        if self._rate_hz not in {0, audio.sample_rate_hz} or audio.channels != 1:
            raise ValueError(f"a line of {audio.channels} channels at {audio.sample_rate_hz} Hz")
        self._rate_hz = audio.sample_rate_hz
        self._spoken += audio.samples.shape[1]
        if self._spoken > self._longest_seconds * self._rate_hz:
            raise lines_too_long(self._longest_seconds)
        steps = (audio.samples[0] * _STEPS).astype(np.int16)
        np.save(self._path(place), steps)
        self._samples[place] = len(steps)

    def finish(self) -> tuple[Lines, Path, list[Check]]:
        """The lines with how long each is, the file of all (FLAC), and what the receipt says."""
        if not self._rate_hz:
            raise BadInput("No line holds anything that can be spoken.", code="nothing_to_speak")
        lengths = [spoken_ms(self._samples[place], self._rate_hz) for place in range(len(self._lines.lines))]
        with Spool() as spool:
            for place, (first, last) in enumerate(places(lengths, self._rate_hz)):
                sound = np.zeros((last - first, 1), dtype=np.float32)
                if self._samples[place]:
                    steps = np.load(self._path(place), allow_pickle=False)
                    self._path(place).unlink()
                    sound[: len(steps), 0] = steps.astype(np.float32) / np.float32(_STEPS)
                spool.write(sound)
            whole = spool.finish(self._rate_hz)
        path = self._folder / "speech.flac"
        encode_file(whole, "flac", path)
        told = tuple(
            line.model_copy(update={"spoken_ms": length})
            for line, length in zip(self._lines.lines, lengths, strict=True)
        )
        reason = f"{self._unspoken} lines hold no letters or digits that a voice could speak; they are silent."
        check = Check("unspoken_lines", not self._unspoken, self._unspoken, 0, reason if self._unspoken else None)
        return self._lines.model_copy(update={"lines": told}), path, [check]

    def _path(self, place: int) -> Path:
        return self._folder / f"line-{place:06d}.npy"


def _stepped(audio: Audio) -> Audio:
    steps = np.clip(np.rint(audio.samples * _STEPS), -_STEPS, _STEPS - 1)
    return Audio((steps / _STEPS).astype(np.float32), audio.sample_rate_hz)


def trimmed(audio: Audio) -> Audio:
    """Without the silence before the first sound and after the last: a line must fit its time."""
    level = np.abs(audio.samples).max(axis=0)
    heard = np.flatnonzero(level > _SILENT * level.max()) if level.size else np.zeros(0, dtype=np.intp)
    if not len(heard):
        return audio
    kept = round(_KEPT_SECONDS * audio.sample_rate_hz)
    return Audio(
        np.ascontiguousarray(audio.samples[:, max(0, heard[0] - kept) : heard[-1] + 1 + kept]), audio.sample_rate_hz
    )
