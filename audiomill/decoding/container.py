"""Opening what a customer sent: the one place that calls FFmpeg's demuxers, and the only one that reads its errors.

Three things hold here for every caller. A file can name no other file and no address: FFmpeg reads an open file and
may open nothing (no protocol is allowed), and only the containers below are recognised (no playlists, manifests,
`concat`, SDP), by content, never by name. Only decoders of sound may run, in FFmpeg's own look at a file too: a cover
or a film is never decoded. And no exception of PyAV passes: a customer gets BadInput with a sentence, the operator
finds FFmpeg's own words as its cause.
"""

import codecs
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import av
import av.container
from av.audio.stream import AudioStream
from av.stream import Discard, Disposition

from audiomill.errors import AudiomillError, BadInput, StorageUnavailable

CONTAINERS = (
    "wav", "w64", "aiff", "au", "caf", "flac", "ogg", "mp3", "aac", "ac3", "wv", "ape", "tta", "amr", "asf", "avi",
    "flv", "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "mpegts", "mpeg",
)  # fmt: skip
"""FFmpeg's names of the containers that may be opened. None of them refers to other files with FFmpeg's defaults
(mov's external references are off unless `enable_drefs` is set)."""

_DECODERS = (
    "aac", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "adpcm_yamaha", "alac", "als",
    "amrnb", "amrwb", "ape", "cook", "dca", "eac3", "flac", "g722", "g723_1", "g726", "g726le", "g729", "gsm", "gsm_ms",
    "ilbc", "libopus", "mace3", "mace6", "mlp", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "nellymoser",
    "opus", "pcm_alaw", "pcm_bluray", "pcm_dvd", "pcm_f16le", "pcm_f24le", "pcm_f32be", "pcm_f32le", "pcm_f64be",
    "pcm_f64le", "pcm_mulaw", "pcm_s16be", "pcm_s16be_planar", "pcm_s16le", "pcm_s16le_planar", "pcm_s24be",
    "pcm_s24le", "pcm_s24le_planar", "pcm_s32be", "pcm_s32le", "pcm_s32le_planar", "pcm_s64be", "pcm_s64le", "pcm_s8",
    "pcm_s8_planar", "pcm_u16be", "pcm_u16le", "pcm_u24be", "pcm_u24le", "pcm_u32be", "pcm_u32le", "pcm_u8", "qcelp",
    "qdm2", "qdmc", "ra_144", "ra_288", "s302m", "sipr", "speex", "truehd", "truespeech", "tta", "vorbis", "wavpack",
    "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice",
)  # fmt: skip
"""FFmpeg's names of the decoders that may run: what people record and export with. Left out are some 110 of games,
disc formats and experiments, each of them code that a hostile file could aim at."""

_MOST_TRACKS = 64

_MACHINE_TROUBLE = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM}
"""What may be the machine's fault. FFmpeg says some of them of damaged files too."""

_KNOWN_STARTS = {
    b"RIFF": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\x1aE\xdf\xa3": "WebM",
    b"FORM": "AIFF", b"caff": "CAF", b".snd": "AU", b"wvpk": "WavPack",
}  # fmt: skip


@contextmanager
def opened(file: BinaryIO, options: dict[str, str] | None = None) -> Iterator[av.container.InputContainer]:
    """An open container. Raises BadInput (`not_a_recording`, `damaged_recording`, `needs_too_much_memory`)."""
    safe = {
        "protocol_whitelist": "none",
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(_DECODERS),
        "max_streams": str(_MOST_TRACKS),
    }
    try:
        container = av.open(_Reader(file), mode="r", options={**(options or {}), **safe}, metadata_errors="replace")
    except av.FFmpegError as error:
        raise from_ffmpeg(error, file) from error
    with container:
        yield container


class _Reader:
    """The file as PyAV reads it: at a position of its own, for others read the file too, and without a name, which
    FFmpeg would guess by."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._position = 0

    def read(self, count: int) -> bytes:
        found = os.pread(self._descriptor, count, self._position)
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position


def sound_track(container: av.container.InputContainer, index: int | None = None) -> AudioStream:
    """The track to work on: that of the index, or the one FFmpeg calls best, as players do. Raises BadInput."""
    tracks = container.streams.audio
    if index is not None and tracks and not 0 <= index < len(tracks):
        raise BadInput(f"There is no sound track {index + 1} in the file; it has {len(tracks)}.", code="no_such_track")
    track = tracks[index] if index is not None and tracks else container.streams.best("audio")
    if isinstance(track, AudioStream) and track.codec_context is not None and track.codec_context.name in _DECODERS:
        for other in container.streams:
            other.discard = Discard.all if other is not track else Discard.default
        return track
    contexts = [stream.codec_context for stream in container.streams.audio]
    if any(context is None or context.name not in _DECODERS for context in contexts):
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


def needs_too_much_memory() -> BadInput:
    """Its decoder wanted more memory than a file may take: a table of contents or a frame larger than any real one."""
    return BadInput(
        "The file needs more memory to decode than any sound of its length should. It is damaged, or was made to. "
        "Export it again as WAV, FLAC or MP3.",
        code="needs_too_much_memory",
    )


def from_ffmpeg(error: av.FFmpegError, file: BinaryIO) -> AudiomillError:
    """What an error of FFmpeg means to a customer, or that it is the machine's. Raise it `from` the error."""
    if error.errno == errno.ENOMEM:
        return needs_too_much_memory()
    try:
        start = _start(file, whole=error.errno in _MACHINE_TROUBLE)
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


def _start(file: BinaryIO, *, whole: bool) -> bytes:
    """The first bytes; `whole` reads all the rest too, to learn whether the machine can. Raises OSError."""
    file.seek(0)
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
