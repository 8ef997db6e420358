"""From a customer's file to Audio, streamed in pieces. What the container is: `container`; frames to numbers: `frames`.

The header is never trusted: length is what was decoded, and limits are kept while decoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.container import from_ffmpeg, opened, sound_track, unreadable_sound
from audiomill.audio.flaws import Flaw, flaws_of_data, flaws_of_length
from audiomill.audio.frames import Piece, gathered
from audiomill.audio.resample import Resampler, downmixed
from audiomill.audio.riff import WavHeader, read_wav_header
from audiomill.audio.spool import Spool
from audiomill.errors import BadInput, LimitExceeded
from audiomill.settings import LimitSettings

LOWEST_HZ, HIGHEST_HZ = 1_000, 768_000
"""Rates outside are slips of a header, not sound."""

LOUDEST = 1e6
"""120 dB above full scale: beyond it a float file holds something else than sound."""

_MOSTLY = 0.5
"""A file of whose bytes more than this share cannot be decoded is refused. FFmpeg finds something like an MP3 frame in
about every third file of random bytes; damaged recordings lose a few per cent."""


@dataclass(frozen=True)
class Decoded:
    """The sound, what was found wrong with it, and the form that it had: rate in Hz and channels as decoded."""

    audio: Audio
    flaws: tuple[Flaw, ...]
    source_sample_rate_hz: int
    source_channels: int


def decode(
    path: Path,
    *,
    sample_rate_hz: int | None = None,
    mono: bool = False,
    spool: Path | None = None,
    limits: LimitSettings,
) -> Decoded:
    """Decode the sound of a file.

    sample_rate_hz: resample to this rate; None keeps the recording's own. mono: the mean of all channels. spool: a file
    to write the samples to (raw float32); the Audio is then a read-only memory map of it, and the caller removes the
    file. Without it long sound is mapped from a nameless temporary file.

    A recording that was cut off, or is damaged in places, is decoded as far as it goes, with a flaw that says so:
    `cut_off`, `damaged_in_places`, `wrong_length_in_header`.

    Raises BadInput (`empty_file`, `not_a_recording`, `damaged_recording`, `no_sound_track`, `unsupported_codec`,
    `undecodable_sound`, `wav_header_cut`, `wav_zero_sample_rate`, `wav_zero_channels`, `sample_rate_out_of_range`,
    `not_finite`, `no_samples`), LimitExceeded (`recording_too_large`, `recording_too_long`), StorageUnavailable when
    the machine cannot read the file or write the samples, FileNotFoundError.
    """
    _check_size(path, limits)
    header = read_wav_header(path)
    if header is not None and header.promised_bytes == 0:
        raise _no_samples()
    options = {"ignore_length": "1"} if header is not None and header.understates else None
    with opened(path, options) as container, Spool(spool) as sink:
        decoding = _Decoding(container, path, limits)
        resampler: Resampler | None = None
        target_hz = channels = current_hz = 0
        for piece in decoding.pieces():
            block = downmixed(piece.block) if mono else _as_channels(piece.block, channels)
            if resampler is None or piece.sample_rate_hz != current_hz:
                if resampler is not None:
                    sink.write(resampler.finish())
                current_hz, channels = piece.sample_rate_hz, block.shape[1]
                target_hz = target_hz or sample_rate_hz or current_hz
                resampler = Resampler(current_hz, target_hz, channels)
            sink.write(resampler.feed(block))
        if resampler is None:
            raise _no_samples()
        sink.write(resampler.finish())
        return Decoded(sink.finish(target_hz), decoding.flaws(header), decoding.first_hz, decoding.first_channels)


class _Decoding:
    """One pass over a container's sound: counts what is lost, keeps the limits, refuses what is no sound."""

    def __init__(self, container: InputContainer, path: Path, limits: LimitSettings) -> None:
        self._container = container
        self._track: AudioStream = sound_track(container)
        self._path = path
        self._limits = limits
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
            if self._seconds > self._limits.max_seconds:
                raise _too_long(self._limits.max_seconds)
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
        length = flaws_of_length(self._container, self._path, header, float(self._seconds))
        return (*flaws_of_data(self._lost_bytes, self._bytes), *length)

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Decoded frames; packets that cannot be decoded are counted, as players skip them."""
        self._track.codec_context.thread_count = 1  # the cores are divided elsewhere
        packets = self._container.demux(self._track)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                if isinstance(problem := from_ffmpeg(error, self._path), BadInput):
                    self._lose(1, error)
                    return
                raise problem from error
            if packet is None:
                return
            self._bytes += packet.size
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                if not isinstance(problem := from_ffmpeg(error, self._path), BadInput):
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


def _check_size(path: Path, limits: LimitSettings) -> None:
    size = path.stat().st_size
    if size > limits.max_bytes:
        raise LimitExceeded(
            f"The recording is {size / 1e9:.2f} GB large; at most {limits.max_bytes / 1e9:.2f} GB are taken. "
            "Split it, or send it compressed.",
            code="recording_too_large",
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
