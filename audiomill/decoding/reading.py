"""From an open file to raw samples, piece by piece. What the container is: `container`; frames to numbers: `frames`.

The header is never trusted: length is what was decoded, and limits are kept while decoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from audiomill.decoding.container import (
    from_ffmpeg,
    has_video,
    needs_too_much_memory,
    opened,
    sound_track,
    unreadable_sound,
)
from audiomill.decoding.flaws import Flaw, flaws_of_data, flaws_of_length
from audiomill.decoding.frames import Piece, gathered
from audiomill.decoding.resampler import Resampler, downmixed
from audiomill.decoding.riff import WavHeader, read_wav_header
from audiomill.errors import BadInput, LimitExceeded

LOWEST_HZ, HIGHEST_HZ = 1_000, 768_000
"""Rates outside are slips of a header, not sound."""

LOUDEST = 1e6
"""120 dB above full scale: beyond it a float file holds something else than sound."""

_MOSTLY = 0.5
"""A file of whose bytes more than this share cannot be decoded is refused. FFmpeg finds something like an MP3 frame in
about every third file of random bytes; damaged recordings lose a few per cent."""

_MANY_FRAMES = 10_000_000
"""Ten hours of Opus's frames of 20 ms are 1.8 million; a table of so many that could be held is read."""

_LEAST_BYTES_PER_SECOND = 16
_UNQUESTIONED_SECONDS = 60
"""What a file may hold at most. Digital silence as FLAC at 8,000 Hz takes 24 bytes a second, speech 90 and more by any
codec; a file made to fill disks less than 1."""


class Output(Protocol):
    """A file to write to; what `write` returns is not looked at."""

    def write(self, data: memoryview, /) -> object:
        """Write all of it. Raises OSError."""
        ...


@dataclass(frozen=True)
class Order:
    """What is wanted of a file: see `audiomill.audio.decode`. most_bytes: of samples, as they are written."""

    sample_rate_hz: int | None
    mono: bool
    max_seconds: float
    most_bytes: int
    track: int | None = None


@dataclass(frozen=True)
class Sound:
    """What was written, float32 [samples, channels], and the form that the file had, as decoded."""

    samples: int
    channels: int
    sample_rate_hz: int
    source_sample_rate_hz: int
    source_channels: int
    flaws: tuple[Flaw, ...]


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


def look_at(file: BinaryIO) -> Probe:
    """Read a file's header. Raises BadInput."""
    read_wav_header(file)
    with opened(file) as container:
        track = sound_track(container)
        return Probe(
            seconds=container.duration / av.time_base if container.duration else None,
            sample_rate_hz=track.sample_rate,
            channels=track.channels,
            codec=track.codec_context.name,
            container=container.format.name.split(",", maxsplit=1)[0],
            has_video=has_video(container),
        )


def read_sound(file: BinaryIO, out: Output, order: Order) -> Sound:
    """Write the sound of a file to `out`, as raw float32 [samples, channels] in this machine's byte order.

    Raises BadInput and LimitExceeded as `audiomill.audio.decode` lists them; StorageUnavailable; OSError of `out`.
    """
    header = read_wav_header(file)
    if header is not None and header.promised_bytes == 0:
        raise _no_samples()
    options = {"ignore_length": "1"} if header is not None and header.understates else None
    with opened(file, options) as container:
        decoding = _Decoding(container, file, order)
        sink = _Sink(out, order.most_bytes)
        resampler: Resampler | None = None
        target_hz = channels = current_hz = 0
        for piece in decoding.pieces():
            block = downmixed(piece.block) if order.mono else _as_channels(piece.block, channels)
            if resampler is None or piece.sample_rate_hz != current_hz:
                if resampler is not None:
                    sink.write(resampler.finish())
                current_hz, channels = piece.sample_rate_hz, block.shape[1]
                target_hz = target_hz or order.sample_rate_hz or current_hz
                resampler = Resampler(current_hz, target_hz, channels)
            sink.write(resampler.feed(block))
        if resampler is None:
            raise decoding.nothing()
        sink.write(resampler.finish())
        return Sound(
            samples=sink.samples,
            channels=channels,
            sample_rate_hz=target_hz,
            source_sample_rate_hz=decoding.first_hz,
            source_channels=decoding.first_channels,
            flaws=decoding.flaws(header),
        )


class _Sink:
    """Writes blocks, and no more than it may."""

    def __init__(self, out: Output, most_bytes: int) -> None:
        self._out = out
        self._room = most_bytes
        self.samples = 0

    def write(self, block: NDArray[np.float32]) -> None:
        self._room -= block.nbytes
        if self._room < 0:
            raise LimitExceeded(
                "The recording's sound takes more room than one recording may: too many channels, or too high a sample "
                "rate, for its length. Send it as stereo at 48,000 Hz, or split it.",
                code="recording_too_large",
            )
        self.samples += len(block)
        self._out.write(np.ascontiguousarray(block).data)


class _Decoding:
    """One pass over a container's sound: counts what is lost, keeps the limits, refuses what is no sound."""

    def __init__(self, container: InputContainer, file: BinaryIO, order: Order) -> None:
        self._container = container
        self._track: AudioStream = sound_track(container, order.track)
        self._file = file
        self._size = file.seek(0, 2)
        self._max_seconds = order.max_seconds
        self._bytes = 0
        self._lost_bytes = 0
        self._cause: av.FFmpegError | None = None
        self._seconds = Fraction(0)  # exact: thousands of rounded pieces would reach a limit too early
        self._bad_samples = 0
        self._first_bad_seconds = 0.0
        self.first_hz = 0
        self.first_channels = 0

    def pieces(self) -> Iterator[Piece]:
        """Finite sound, in order. Raises at the end when too much of the file was none."""
        for piece in gathered(self._frames()):
            if not LOWEST_HZ <= piece.sample_rate_hz <= HIGHEST_HZ:
                raise _rate_out_of_range(piece.sample_rate_hz)
            self.first_hz = self.first_hz or piece.sample_rate_hz
            self.first_channels = self.first_channels or piece.block.shape[1]
            self._count_bad(piece)
            self._seconds += Fraction(len(piece.block), piece.sample_rate_hz)
            if self._seconds > self._max_seconds:
                raise _too_long(self._max_seconds)
            if self._seconds > plausible_seconds(self._size):
                raise _implausible(self._size)
            if not self._bad_samples:
                yield piece
        if self._lost_bytes > _MOSTLY * self._bytes:
            raise unreadable_sound() from self._cause
        if self._bad_samples:
            raise BadInput(
                f"The recording holds {self._bad_samples:,} samples that are not numbers of sound (NaN, infinite or "
                f"absurdly large), the first at {self._first_bad_seconds:.3f} seconds. Export it again.",
                code="not_finite",
            )

    def flaws(self, header: WavHeader | None) -> tuple[Flaw, ...]:
        """What was wrong, once all pieces were taken."""
        length = flaws_of_length(self._container, self._file, header, float(self._seconds))
        return (*flaws_of_data(self._lost_bytes, self._bytes), *length)

    def nothing(self) -> BadInput:
        """Why there is no sound at all."""
        # Without memory for a container's table of contents FFmpeg goes on with an empty one.
        return needs_too_much_memory() if self._track.frames > _MANY_FRAMES else _no_samples()

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Decoded frames; packets that cannot be decoded are counted, as players skip them."""
        self._track.codec_context.thread_count = 1  # the cores are divided elsewhere
        packets = self._container.demux(self._track)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                if isinstance(problem := from_ffmpeg(error, self._file), BadInput):
                    self._lose(1, error)
                    return
                raise problem from error
            if packet is None:
                return
            self._bytes += packet.size
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                if not isinstance(problem := from_ffmpeg(error, self._file), BadInput):
                    raise problem from error
                self._lose(packet.size, error)

    def _lose(self, size: int, error: av.FFmpegError) -> None:
        self._lost_bytes += size
        self._cause = error

    def _count_bad(self, piece: Piece) -> None:
        # One pass that NaN fails as well as infinity: comparisons with NaN are false.
        good = np.abs(piece.block) <= LOUDEST
        if good.all():
            return
        if not self._bad_samples:
            first = int(np.argmin(good.all(axis=1)))
            self._first_bad_seconds = float(self._seconds) + first / piece.sample_rate_hz
        self._bad_samples += int(np.count_nonzero(~good))


def _as_channels(block: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """A block whose channel count changed in mid-recording, as the recording began (0: this is the beginning)."""
    if channels in {0, block.shape[1]}:
        return block
    return np.repeat(downmixed(block), channels, axis=1)


def plausible_seconds(size_bytes: int) -> float:
    """The most sound that a file of a size can hold."""
    return _UNQUESTIONED_SECONDS + size_bytes / _LEAST_BYTES_PER_SECOND


def _implausible(size_bytes: int) -> BadInput:
    return BadInput(
        f"The file has {size_bytes:,} bytes and unpacks to more than {plausible_seconds(size_bytes) / 60:.0f} minutes "
        "of sound, which no recording does. It is damaged, or was made to. Export it again as WAV, FLAC or MP3.",
        code="implausible_length",
    )


def _no_samples() -> BadInput:
    return BadInput("The recording is 0 seconds long: it holds no sound at all. Export it again.", code="no_samples")


def _rate_out_of_range(sample_rate_hz: int) -> BadInput:
    return BadInput(
        f"The recording says that its sample rate is {sample_rate_hz:,} Hz; {LOWEST_HZ:,} to {HIGHEST_HZ:,} Hz can be "
        "worked on. Export it again, for example at 48,000 Hz.",
        code="sample_rate_out_of_range",
    )


def _too_long(max_seconds: float) -> LimitExceeded:
    most = f"{max_seconds / 3600:.4g} hours" if max_seconds >= 3600 else f"{max_seconds:g} seconds"  # noqa: PLR2004
    return LimitExceeded(
        f"The recording is longer than {most}, the most that is taken here. Split it.", code="recording_too_long"
    )
