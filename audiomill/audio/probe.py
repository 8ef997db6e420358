"""What a recording says of itself, read without decoding. The truth about its length is `decode`'s."""

from dataclasses import dataclass
from pathlib import Path

import av

from audiomill.audio.container import has_video, opened, sound_track
from audiomill.audio.riff import read_wav_header


@dataclass(frozen=True)
class Probe:
    """What the container says; it may lie.

    seconds: None when it does not say. codec, container: FFmpeg's names (`mp3float`, `wav`); container is the first
    of its family (`mov` for mp4 and m4a).
    """

    seconds: float | None
    sample_rate_hz: int
    channels: int
    codec: str
    container: str
    has_video: bool


def probe(path: Path) -> Probe:
    """Look at a file without decoding it; milliseconds, whatever its length.

    Raises BadInput with the codes of `decode` that show in the header; FileNotFoundError.
    """
    read_wav_header(path)
    with opened(path) as container:
        track = sound_track(container)
        return Probe(
            seconds=container.duration / av.time_base if container.duration else None,
            sample_rate_hz=track.sample_rate,
            channels=track.channels,
            codec=track.codec_context.name,
            container=container.format.name.split(",", maxsplit=1)[0],
            has_video=has_video(container),
        )
