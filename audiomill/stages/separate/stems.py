"""The two files of a separation, from a recording to its chunks and from their voices back. What an engine does with
a chunk is audiomill.engines.separation; the files are the source again, to the sample, for sound of up to 16 bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiomill.audio import Audio, Flaw, decode, encode_file, mono
from audiomill.audio.remux import WRITTEN, Tracks, tracks
from audiomill.engines.separation.protocol import CHUNK_SECONDS, Chunk, Separated, chunks, joined
from audiomill.errors import BadInput
from audiomill.settings import LimitSettings

_STEPS = 32_768
_KEPT_CHANNELS = {1, 2, 6, 8}
"""What can be written into a film again; other sound is mixed down to one channel."""


@dataclass(frozen=True, eq=False)
class Source:
    """A recording's sound as it is separated: its own rate, its own channels. track: which one it is, 0 the first."""

    audio: Audio
    track: int
    has_picture: bool
    flaws: tuple[Flaw, ...]


def opened(
    path: Path, *, spool: Path, track: int | None = None, written_again: bool = False, limits: LimitSettings
) -> Source:
    """Decode the sound track that is wanted: the one that is named, else the one that players play.

    written_again: the file gets its sound back later; a film of a kind that cannot be written is refused now, before
    hours of work. Raises BadInput (`no_sound_track`, `no_such_track`, `container_not_written`, those of `decode`).
    """
    found = tracks(path, limits=limits)
    chosen = chosen_track(found, track)
    if written_again and found.has_picture and found.container not in WRITTEN:
        raise BadInput(
            f"The film is in a kind of file that cannot be written here; {', '.join(WRITTEN[:-1])} and {WRITTEN[-1]} "
            "can. Convert it to MP4 and send it again.",
            code="container_not_written",
        )
    decoded = decode(path, spool=spool, track=chosen, limits=limits)
    flaws = decoded.flaws
    audio = decoded.audio
    if audio.channels not in _KEPT_CHANNELS:
        audio = mono(audio)
        flaws = (*flaws, Flaw("mixed_down", f"The sound has {decoded.source_channels} channels; it was mixed to one."))
    return Source(audio, chosen, found.has_picture, flaws)


def chosen_track(found: Tracks, wanted: int | None) -> int:
    """The track's place. Raises BadInput (`no_sound_track`, `no_such_track`)."""
    if not found.sound:
        raise BadInput("The file has no sound track, so there is nothing to hear in it.", code="no_sound_track")
    if wanted is None:
        return next((place for place, track in enumerate(found.sound) if track.default), 0)
    if not 0 <= wanted < len(found.sound):
        raise BadInput(
            f"There is no sound track {wanted + 1} in the file; it has {len(found.sound)}.", code="no_such_track"
        )
    return wanted


def units(source: Source, *, context_seconds: float) -> Iterator[Chunk]:
    """The chunks, each with all that its result depends on."""
    return chunks(source.audio, context_seconds=context_seconds)


class Stems:
    """Keeps the voices of chunks as they come, in any order, and makes the two files of them."""

    def __init__(self, source: Source, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._count = 0

    def keep(self, index: int, result: Separated) -> None:
        """A chunk's voice, to disk: in 16 bit it is as it was made (`split`)."""
        steps = np.rint(result.voice.samples * np.float32(_STEPS)).astype(np.int16)
        np.save(self._path(index), steps)
        self._count = max(self._count, index + 1)

    def files(self) -> dict[str, Path]:
        """`voice` and `background` as FLAC, at the source's rate. Raises ValueError when a chunk is missing."""
        separated = joined(self._source.audio, self._voices(), chunk_seconds=CHUNK_SECONDS)
        made = {"voice": self._folder / "voice.flac", "background": self._folder / "background.flac"}
        encode_file(separated.voice, "flac", made["voice"])
        encode_file(separated.background, "flac", made["background"])
        return made

    def _voices(self) -> Iterator[Audio]:
        for index in range(self._count):
            path = self._path(index)
            steps = np.load(path, allow_pickle=False)
            path.unlink()
            yield Audio(steps.astype(np.float32) / np.float32(_STEPS), self._source.audio.sample_rate_hz)

    def _path(self, index: int) -> Path:
        return self._folder / f"chunk-{index:05d}.npy"
