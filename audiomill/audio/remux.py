"""A film with another sound and subtitles, by a process that holds nothing else. How: audiomill.decoding.remuxing.

Files in, a file out; the picture is not touched. What the sound is and what the subtitles say is the caller's.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks
from audiomill.audio.decode import answered, check_size
from audiomill.audio.decoders import decoders
from audiomill.audio.resample import resampled
from audiomill.decoding.remuxing import WRITTEN, Remuxed, RemuxOrder, SoundTrack, Tracks
from audiomill.errors import BadInput, OperatorError, StorageUnavailable
from audiomill.scratch import SCRATCH_UNAVAILABLE, nameless_file
from audiomill.settings import LimitSettings

__all__ = ["WRITTEN", "Remuxed", "SoundTrack", "SubtitleTrack", "Tracks", "remux", "tracks"]

_RATES_HZ = {"mp4": (44_100, 48_000), "mov": (44_100, 48_000), "mkv": (), "webm": (48_000,)}
"""That the container's sound codec takes; none: any."""

_CHANNELS = {1, 2, 6, 8}
_LEAST_CPU_SECONDS, _CPU_SECONDS_PER_MEGABYTE, _CPU_SECONDS_PER_SECOND = 20.0, 0.5, 0.2
_WALL_FACTOR, _WALL_SECONDS = 4.0, 60.0


@dataclass(frozen=True)
class SubtitleTrack:
    """Subtitles to add. language: ISO 639-2/T, three letters. cues: (start_ms, end_ms, text), in order, apart."""

    language: str
    title: str
    cues: tuple[tuple[int, int, str], ...]


def tracks(path: Path, *, limits: LimitSettings) -> Tracks:
    """What tracks a file has: picture or not, sound tracks with language and which is the default, its container.

    Raises BadInput (`empty_file`, `not_a_recording`, `damaged_recording`), LimitExceeded; not for a silent film.
    """
    with path.open("rb") as file:
        check_size(file, limits)
        found = answered(_asked({"tracks": True}, [file], limits, written_bytes=1 << 20, cpu_seconds=20.0), Tracks)
    try:
        sound = tuple(SoundTrack(**track) for track in _dicts(found.sound))
        return Tracks(found.container, found.has_picture, found.seconds, sound, tuple(found.subtitle_languages))
    except TypeError as error:
        raise OperatorError("A decoding process answered something else than tracks.", code="decoder_broke") from error


def remux(
    source: Path,
    sound: Audio,
    out: Path,
    *,
    container: str,
    replaced: int | None = None,
    language: str,
    title: str = "",
    subtitles: Sequence[SubtitleTrack] = (),
    limits: LimitSettings,
) -> Remuxed:
    """Write `source` to `out` with its sound track `replaced` (0 is the first; None: the default) replaced by `sound`.

    A source without sound gets the track. All other sound tracks, subtitles and every packet of the picture go over as
    they are; covers, attachments and data are left out and told. The new sound begins where the old one began, and is
    the default. container: one of WRITTEN, the source's own. sound: 1, 2, 6 or 8 channels; another rate than the codec
    takes is resampled. The same input gives the same bytes (not webm: its codec, Opus, does not promise it).

    Raises BadInput (`container_not_written`, `no_such_track`, `unsupported_picture`, and those of `decode` that show
    in the header), LimitExceeded, StorageUnavailable, OperatorError; ValueError for other channels. A file that could
    not be finished is removed.
    """
    if container not in WRITTEN:
        raise BadInput(
            f"A film can be written as {', '.join(WRITTEN[:-1])} or {WRITTEN[-1]}, and this is none of them. Convert "
            "it to MP4 and send it again.",
            code="container_not_written",
        )
    if sound.channels not in _CHANNELS:
        raise ValueError(f"sound of {sound.channels} channels cannot be written; 1, 2, 6 or 8 can")
    if (rates := _RATES_HZ[container]) and sound.sample_rate_hz not in rates:
        sound = resampled(sound, rates[-1])
    listed = [[track.language, track.title] for track in subtitles]
    order = RemuxOrder(container, replaced, sound.sample_rate_hz, sound.channels, language, title, listed)
    try:
        with source.open("rb") as file, _raw(sound) as raw, _cues(subtitles) as cues, out.open("w+b") as written:
            check_size(file, limits)
            size = file.seek(0, 2)
            answer = _asked(
                {"remux": asdict(order)},
                [file, raw, cues, written],
                limits,
                written_bytes=size + 2 * sound.samples.nbytes + (64 << 20),
                cpu_seconds=_LEAST_CPU_SECONDS
                + _CPU_SECONDS_PER_MEGABYTE * size / 1e6
                + _CPU_SECONDS_PER_SECOND * sound.seconds,
            )
            done = answered(answer, Remuxed)
            if not written.seek(0, 2):
                raise OperatorError("A decoding process said that it wrote a film, and did not.", code="decoder_broke")
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return Remuxed(done.container, done.sound_codec, done.picture_packets, tuple(str(one) for one in done.left_out))


def _asked(
    request: dict[str, Any], files: Sequence[BinaryIO], limits: LimitSettings, *, written_bytes: int, cpu_seconds: float
) -> dict[str, Any]:
    told = {
        **request,
        "order": None,
        "limits": {
            "memory_bytes": limits.max_decoding_memory_bytes,
            "cpu_seconds": cpu_seconds,
            "written_bytes": written_bytes,
        },
    }
    handed = [file.fileno() for file in files]
    return decoders().ask(told, handed, wall_seconds=_WALL_SECONDS + _WALL_FACTOR * cpu_seconds)


def _raw(sound: Audio) -> BinaryIO:
    """Raw float32 [samples, channels], as the other process reads it."""
    file = nameless_file()
    try:
        for block in blocks(sound):
            file.write(np.ascontiguousarray(block.T).data)
        file.flush()
    except OSError as error:
        file.close()
        raise StorageUnavailable(
            f"Sound could not be written to this machine's disk: {error.strerror}.", code=SCRATCH_UNAVAILABLE
        ) from error
    except BaseException:
        file.close()
        raise
    return file


def _cues(subtitles: Sequence[SubtitleTrack]) -> BinaryIO:
    """In a file: a message to the process has no room for three hours of them."""
    file = nameless_file()
    file.write(json.dumps([track.cues for track in subtitles]).encode())
    file.flush()
    file.seek(0)
    return file


def _dicts(values: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a stranger's words
    return [value for value in values if isinstance(value, dict)]
