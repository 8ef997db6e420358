"""The stages of a dub one after the other, in one process, without a platform: what their cores make of a file."""

from dataclasses import dataclass, field
from pathlib import Path

from audiomill.audio import Audio, decode
from audiomill.engines.cores import CoreBudget
from audiomill.engines.separation.rnnoise import RNNoise
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.engines.translation.apertium import Apertium
from audiomill.errors import AudiomillError
from audiomill.lines.document import Lines
from audiomill.lines.subtitles import Note, read_subtitles
from audiomill.quality import Check
from audiomill.settings import LimitSettings
from audiomill.stages.cast.script import Given, script
from audiomill.stages.cast.speakers import with_speakers
from audiomill.stages.mix.checks import judge_dub
from audiomill.stages.mix.mixing import Dub, dubbed
from audiomill.stages.mux.delivered import delivered
from audiomill.stages.separate.stems import Source, Stems, opened, units
from audiomill.stages.speak import speech
from audiomill.stages.speak.voices import with_voices
from audiomill.stages.translate import sentences

LIMITS = LimitSettings()


def raised(result: speech.Speech | speech.Unspoken | AudiomillError) -> speech.Speech | speech.Unspoken:
    """A result that is none is raised."""
    if isinstance(result, AudiomillError):
        raise result
    return result


@dataclass
class Dubbed:
    """What each stage made."""

    source: Source
    stems: dict[str, Path]
    lines: Lines
    dub: Dub
    files: dict[str, Path]
    checks: list[Check]
    notes: tuple[Note, ...] = ()
    sounds: dict[str, Audio] = field(default_factory=dict)

    def check(self, name: str) -> Check:
        """The check of that name."""
        return next(check for check in self.checks if check.name == name)


def separated(path: Path, folder: Path, engine: RNNoise, *, track: int | None = None) -> tuple[Source, dict[str, Path]]:
    """The source, and its stems."""
    source = opened(path, spool=folder / "samples", track=track, written_again=True, limits=LIMITS)
    stems = Stems(source, folder)
    for index, chunk in enumerate(units(source, context_seconds=engine.context_seconds)):
        (result,) = engine.separate([chunk])
        stems.keep(index, result)
    return source, stems.files()


def dub(
    path: Path,
    folder: Path,
    *,
    source_subtitles: bytes | None = None,
    subtitles: bytes | None = None,
    source_language: str | None = "en",
    target_language: str = "es",
    track: int | None = None,
    glossary: dict[str, str] | None = None,
    voices: dict[str, str] | None = None,
) -> Dubbed:
    """Dub a file."""
    budget = CoreBudget(folder / "cores", 1)
    source, stems = separated(path, folder, RNNoise(model_store=folder, budget=budget), track=track)
    duration_ms = round(source.audio.seconds * 1000)
    given = Given(
        source=read_subtitles(source_subtitles, duration_ms=duration_ms) if source_subtitles is not None else None,
        target=read_subtitles(subtitles, duration_ms=duration_ms) if subtitles is not None else None,
    )
    sounds = {name: decode(stem, limits=LIMITS).audio for name, stem in stems.items()}
    made = script(given, source_language=source_language, target_language=target_language, duration_ms=duration_ms)
    lines, checks = with_speakers(made.lines, sounds["voice"]), []
    if any(line.translation is None for line in lines.lines):
        translator = Apertium(model_store=folder, budget=budget)
        found = sentences.units(lines)
        answers = sentences.translated(
            translator, [sentence for _, sentence in found], sentences.order_of(lines, glossary or {})
        )
        lines, told = sentences.with_translations(
            lines, {place: answer for (place, _), answer in zip(found, answers, strict=True)}
        )
        checks += told
    speaker = Espeak(model_store=folder, budget=budget)
    lines = with_voices(lines, voices or {}, speaker)
    spoken = speech.SpokenLines(lines, folder)
    for unit in speech.units(lines, 175):
        (result,) = speaker.synthesize([unit.text], unit.parameters)
        spoken.keep(unit.place, raised(speech.or_unspoken(unit, result)))
    lines, spoken_path, told = spoken.finish()
    whole = dubbed(
        lines, decode(spoken_path, limits=LIMITS).audio, voice=sounds["voice"], background=sounds["background"]
    )
    checks += [*told, *judge_dub(whole, voice=sounds["voice"], background=sounds["background"])]
    out = folder / "out"
    out.mkdir()
    done = delivered(path, whole.audio, whole.lines, out, track=source.track, formats=("flac",), limits=LIMITS)
    return Dubbed(source, stems, whole.lines, whole, done.files, [*checks, *done.checks], made.notes, sounds)
