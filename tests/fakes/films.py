"""A film as a customer sends it, made on the spot: a picture, two who speak in turn, music and noise behind them."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr

from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak

RATE = 48_000
TALK = (
    ("m1", "Good morning. The train to the coast leaves in ten minutes.",
     "Buenos días. El tren a la costa sale en diez minutos."),
    ("f4", "Then we have time for a cup of coffee.", "Entonces tenemos tiempo para una taza de café."),
    ("m1", "I would rather wait on the platform.", "Prefiero esperar en el andén."),
    ("f4", "As you like. I will bring you one.", "Como quieras. Te traeré uno."),
)  # fmt: skip
"""(espeak-ng's variant, what is said, the same in Spanish)."""

PAUSE_SECONDS = 1.2
CODECS = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "mkv": ("libx264", "flac"),
    "webm": ("libvpx", "libopus"),
}


@dataclass(frozen=True)
class Talk:
    """The sound of a film: [channels, samples] at RATE, and who speaks from when to when, in ms."""

    sound: np.ndarray
    background: np.ndarray
    turns: tuple[tuple[int, int, str, str, str], ...]

    def srt(self, which: str) -> bytes:
        """Its subtitles: `source` or `target`."""
        blocks = [
            f"{number}\n{_clock(start)} --> {_clock(end)}\n{source if which == 'source' else target}\n"
            for number, (start, end, _, source, target) in enumerate(self.turns, start=1)
        ]
        return "\n".join(blocks).encode()


def talk(folder: Path, *, background_db: float = -32.0, channels: int = 2) -> Talk:
    """Two voices in turn over a chord and noise. The same each time."""
    engine = Espeak(model_store=folder, budget=CoreBudget(folder / "cores", 1))
    pause = round(PAUSE_SECONDS * RATE)
    parts, turns, at = [np.zeros(pause, np.float32)], [], pause
    for variant, source, target in TALK:
        (speech,) = engine.synthesize([source], SynthesizeParameters(language="en-us", voice=f"+{variant}"))
        samples = soxr.resample(speech.audio.samples[0], speech.audio.sample_rate_hz, RATE).astype(np.float32)
        heard = np.flatnonzero(np.abs(samples) > 0.005)
        samples = 0.5 * samples[heard[0] : heard[-1]]
        turns.append((at * 1000 // RATE, (at + len(samples)) * 1000 // RATE, variant, source, target))
        parts += [samples, np.zeros(pause, np.float32)]
        at += len(samples) + pause
    voice = np.concatenate(parts)
    time = np.arange(len(voice)) / RATE
    music = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 277.2, 329.6)) / 3
    noise = np.random.default_rng(7).standard_normal(len(voice)) * 0.5
    background = ((music * (1 + 0.5 * np.sin(2 * np.pi * 0.5 * time)) + noise) * 10 ** (background_db / 20)).astype(
        np.float32
    )
    sound = np.clip(np.repeat((voice + background)[None], channels, axis=0), -1, 1)
    return Talk(sound.astype(np.float32), np.repeat(background[None], channels, axis=0), tuple(turns))


def film(path: Path, sounds: list[np.ndarray], *, uneven: bool = False, languages: tuple[str, ...] = ()) -> Path:
    """A film in the container of its ending; as many sound tracks as sounds. uneven: a variable frame rate."""
    picture_codec, sound_codec = CODECS[path.suffix[1:]]
    seconds = max((sound.shape[1] / RATE for sound in sounds), default=3.0)
    with av.open(str(path), "w", format={"mkv": "matroska"}.get(path.suffix[1:], path.suffix[1:])) as out:
        shown = out.add_stream(picture_codec, rate=25)
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        shown.codec_context.time_base = Fraction(1, 1000)
        tracks = []
        for place, sound in enumerate(sounds):
            track = out.add_stream(sound_codec, rate=RATE)
            track.layout = {1: "mono", 2: "stereo", 6: "5.1"}[sound.shape[0]]
            if place < len(languages):
                track.metadata["language"] = languages[place]
            tracks.append(track)
        for index in range(round(25 * seconds)):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * index % 255, np.uint8), format="rgb24")
            picture.time_base = Fraction(1, 1000)
            picture.pts = index * 40 + (index * 7 % 23 if uneven else 0)
            out.mux(shown.encode(picture))
        out.mux(shown.encode(None))
        for track, sound in zip(tracks, sounds, strict=True):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=track.layout)
            frame.sample_rate, frame.pts = RATE, 0
            out.mux([*track.encode(frame), *track.encode(None)])
    return path


def _clock(ms: int) -> str:
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
