"""Opening what a customer sent: the one place that calls FFmpeg's demuxers, and the only one that reads its errors.

Two things hold here for every caller. A file can name no other file and no address: only the `file` protocol may be
opened, only the containers below are recognised (no playlists, manifests, `concat`, SDP), and by content, never by
name. And no exception of PyAV passes: a customer gets BadInput with a sentence, the operator finds FFmpeg's own words
as its cause.
"""

import codecs
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container
from av.audio.stream import AudioStream
from av.stream import Disposition

from audiomill.errors import AudiomillError, BadInput, StorageUnavailable

CONTAINERS = (
    "wav", "w64", "aiff", "au", "caf", "flac", "ogg", "mp3", "aac", "ac3", "wv", "ape", "tta", "amr", "asf", "avi",
    "flv", "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "mpegts", "mpeg",
)  # fmt: skip
"""FFmpeg's names of the containers that may be opened. None of them refers to other files with FFmpeg's defaults
(mov's external references are off unless `enable_drefs` is set)."""

_MACHINE_TROUBLE = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM}
"""What may be the machine's fault. FFmpeg says some of them (and ENOMEM) of damaged files too."""

_KNOWN_STARTS = {
    b"RIFF": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\x1aE\xdf\xa3": "WebM",
    b"FORM": "AIFF", b"caff": "CAF", b".snd": "AU", b"wvpk": "WavPack",
}  # fmt: skip


@contextmanager
def opened(path: Path, options: dict[str, str] | None = None) -> Iterator[av.container.InputContainer]:
    """An open container. Raises BadInput (`empty_file`, `not_a_recording`, `damaged_recording`); FileNotFoundError."""
    if path.stat().st_size == 0:
        raise BadInput("The file is empty (0 bytes). Send it again.", code="empty_file")
    safe = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
    try:
        container = av.open(
            # The prefix and the absolute path: a name such as `concat:a|b` is a name, not an order to FFmpeg.
            f"file:{path.absolute()}",
            mode="r",
            options={**(options or {}), **safe},
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        raise from_ffmpeg(error, path) from error
    with container:
        yield container


def sound_track(container: av.container.InputContainer) -> AudioStream:
    """The track to work on: the one FFmpeg calls best, as players do. Raises BadInput."""
    track = container.streams.best("audio")
    if isinstance(track, AudioStream) and track.codec_context is not None:
        return track
    if any(stream.codec_context is None for stream in container.streams.audio):
        raise BadInput(
            "The sound in the file is stored in a way (codec) that cannot be read here. "
            "Convert it to WAV, FLAC or MP3 and send it again.",
            code="unsupported_codec",
        )
    if container.streams.audio:  # FFmpeg takes it for sound, and found neither channels nor a rate in it
        raise unreadable_sound()
    what = "video" if has_video(container) else "file"
    raise BadInput(f"The {what} has no sound track, so there is nothing to work on.", code="no_sound_track")


def unreadable_sound() -> BadInput:
    """The container is known, its sound is none: random bytes, encrypted sound, a damaged header."""
    return BadInput(
        "The file's sound cannot be read: most of it is not valid sound data. It is damaged, encrypted, or not a "
        "recording at all. Export it again as WAV, FLAC or MP3.",
        code="undecodable_sound",
    )


def has_video(container: av.container.InputContainer) -> bool:
    """Whether there are moving pictures; a cover is none."""
    return any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def from_ffmpeg(error: av.FFmpegError, path: Path) -> AudiomillError:
    """What an error of FFmpeg means to a customer, or that it is the machine's. Raise it `from` the error."""
    try:
        start = _start(path, whole=error.errno in _MACHINE_TROUBLE)
    except OSError as trouble:
        return StorageUnavailable(f"The recording could not be read on this machine: {trouble.strerror}.")
    kind = (
        "MP4"
        if start[4:8] == b"ftyp"
        else next((k for magic, k in _KNOWN_STARTS.items() if start.startswith(magic)), None)
    )
    if kind:
        return BadInput(
            f"The file starts like {kind}, but its sound cannot be read: it is damaged or was cut off. "
            "Send the complete file, or export it again.",
            code="damaged_recording",
        )
    what = "It holds text. " if _is_text(start) else ""
    return BadInput(
        f"The file is not a sound or video recording that can be read here, whatever its name says. {what}"
        "Send WAV, MP3, FLAC, Ogg, Opus, M4A, WebM, MP4 or MOV.",
        code="not_a_recording",
    )


def _start(path: Path, *, whole: bool) -> bytes:
    """The first bytes; `whole` reads all the rest too, to learn whether the machine can. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(4096)
        while whole and file.read(1 << 20):
            pass
    return start


def _is_text(start: bytes) -> bool:
    """Whether bytes read as UTF-8 text; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(character.isprintable() or character in "\t\r\n\ufeff" for character in text)
