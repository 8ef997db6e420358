"""From Audio to the files that customers get. The same samples give the same bytes, in every process and at any time.

FFmpeg's `bitexact` flags leave out dates and library versions; encoders run on one thread. Opus is not offered here:
the same samples gave different files. What is done to the sound: samples beyond full scale are clamped and counted,
and rounded to 16 bit without dither (dither needs noise, and noise would need a seed in every receipt).
"""

import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from numpy.typing import NDArray

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks
from audiomill.audio.resample import resampled
from audiomill.audio.spool import Spool
from audiomill.errors import BadRequest, StorageUnavailable
from audiomill.scratch import SCRATCH_UNAVAILABLE

SoundFormat = Literal["wav", "flac", "mp3"]

_MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""ISO 11172-3, 13818-3 and MPEG-2.5."""

_MOST_CHANNELS: dict[SoundFormat, int] = {"wav": 65_535, "flac": 8, "mp3": 2}

_BLOCK_SAMPLES = 1 << 16
_STEPS = 32_768


@dataclass(frozen=True)
class Encoded:
    """A file's bytes, and how many samples were beyond full scale and clamped."""

    data: bytes
    clipped_samples: int


def encode(audio: Audio, sound_format: SoundFormat) -> Encoded:
    """Encode into memory. For hours of sound use `encode_file`.

    wav and flac: 16 bit at the audio's own rate. mp3: constant bit rate (128 kbit/s a channel from 32 kHz, 64 at 16 to
    24 kHz, 32 below); a rate that MP3 does not know is resampled to the next higher that it does. The inverse of
    `decode`: 16-bit samples survive the round trip through wav and flac unchanged.

    Raises BadRequest (`too_many_channels`, `nothing_to_encode`); ValueError when a sample is not finite.
    """
    buffer = io.BytesIO()
    clipped = _write(audio, sound_format, buffer)
    return Encoded(buffer.getvalue(), clipped)


def encode_file(audio: Audio, sound_format: SoundFormat, path: Path) -> int:
    """As `encode`, to a file; the same bytes. Returns how many samples were clamped.

    Raises StorageUnavailable when the disk is full. A file that could not be finished is removed.
    """
    try:
        with path.open("wb") as file:
            return _write(audio, sound_format, file)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if (why := _why_not_written(error)) is not None:
            raise StorageUnavailable(
                f"Sound could not be written to this machine's disk: {why}.", code=SCRATCH_UNAVAILABLE
            ) from error
        raise


def _why_not_written(error: BaseException) -> str | None:
    """What the disk said; None where it was something else.

    A container that could not be written is closed all the same, and raises then: the disk's own error is behind that
    one, or lost. What calls back there is the file, and nothing else.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError):
            return str(behind.strerror)
        behind = behind.__cause__ or behind.__context__
    return "the file took no more" if isinstance(error, av.error.PyAVCallbackError) else None


def rounded(audio: Audio) -> Audio:
    """What `decode` gives of the wav that `encode` makes of this sound, without either. Raises StorageUnavailable.

    The file is our own and its sound is at hand: no decoding process needs to read it.
    """
    with Spool() as spool:
        for block in blocks(audio, _BLOCK_SAMPLES):
            spool.write(_steps(block).T.astype(np.float32) / np.float32(_STEPS))
        return spool.finish(audio.sample_rate_hz)


def from_wav(data: bytes) -> Audio:
    """The sound of a wav that `encode` made, and no other: our own, so that no decoding process needs to read it."""
    with wave.open(io.BytesIO(data)) as file:
        steps = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return Audio(np.ascontiguousarray(steps.T.astype(np.float32) / np.float32(_STEPS)), file.getframerate())


def _write(audio: Audio, sound_format: SoundFormat, file: IO[bytes]) -> int:
    if audio.channels > _MOST_CHANNELS[sound_format]:
        raise BadRequest(
            f"{sound_format} holds at most {_MOST_CHANNELS[sound_format]} channels and this sound has "
            f"{audio.channels}; order wav, or fewer channels.",
            code="too_many_channels",
        )
    if not audio.samples.size:
        raise BadRequest("There is no sound to encode: it is 0 seconds long.", code="nothing_to_encode")
    if sound_format == "mp3":
        audio = resampled(audio, _mp3_rate(audio.sample_rate_hz))
    # A size that a WAV header cannot hold needs RF64; below it the plain header that every program reads.
    rf64 = {"rf64": "always"} if sound_format == "wav" and audio.samples.size * 2 > 0xFFFF0000 else {}  # noqa: PLR2004
    clipped = 0
    with av.open(file, mode="w", format=sound_format, options={"fflags": "+bitexact", **rf64}) as container:
        stream = _stream(container, sound_format, audio)
        position = 0
        for block in blocks(audio, _BLOCK_SAMPLES):
            array, beyond = _clamped(block, sound_format)
            clipped += beyond
            frame = av.AudioFrame.from_ndarray(array, format=stream.format.name, layout=stream.layout)
            frame.sample_rate, frame.pts = audio.sample_rate_hz, position
            position += block.shape[1]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return clipped


def _stream(container: av.container.OutputContainer, sound_format: SoundFormat, audio: Audio) -> AudioStream:
    codec: Literal["pcm_s16le", "flac", "libmp3lame"]
    match sound_format:
        case "wav":
            codec, sample_format = "pcm_s16le", "s16"
        case "flac":
            codec, sample_format = "flac", "s16"
        case "mp3":
            codec, sample_format = "libmp3lame", "fltp"
    stream = container.add_stream(codec, rate=audio.sample_rate_hz)
    stream.layout = {1: "mono", 2: "stereo"}.get(audio.channels, f"{audio.channels} channels")
    stream.format = sample_format
    stream.codec_context.flags |= Flags.bitexact  # portable arithmetic; the container's flag leaves out the versions
    stream.codec_context.thread_count = 1
    if sound_format == "mp3":
        stream.codec_context.bit_rate = _mp3_bit_rate(audio.sample_rate_hz) * audio.channels
    return stream


def _clamped(
    block: NDArray[np.float32], sound_format: SoundFormat
) -> tuple[NDArray[np.int16] | NDArray[np.float32], int]:
    """Samples as the encoder wants them, and how many were beyond full scale."""
    if not np.isfinite(block).all():
        raise ValueError("a sample to encode is not finite")
    beyond = int(np.count_nonzero(np.abs(block) > 1))
    if sound_format == "mp3":
        return np.ascontiguousarray(np.clip(block, -1, 1)), beyond
    return np.ascontiguousarray(_steps(block).T).reshape(1, -1), beyond


def _steps(block: NDArray[np.float32]) -> NDArray[np.int16]:
    # 32,768 steps as in `decode`, so that 16-bit sound comes back as it was; +1.0 is the one value that must give way.
    steps: NDArray[np.int16] = np.clip(np.rint(block * np.float32(_STEPS)), -_STEPS, _STEPS - 1).astype(np.int16)
    return steps


def _mp3_rate(sample_rate_hz: int) -> int:
    return next((rate for rate in _MP3_RATES_HZ if rate >= sample_rate_hz), _MP3_RATES_HZ[-1])


def _mp3_bit_rate(sample_rate_hz: int) -> int:
    """Bits per second and channel; each is a rate that the standard lists for one channel and, doubled, for two."""
    if sample_rate_hz >= 32_000:  # noqa: PLR2004 - MPEG-1
        return 128_000
    return 64_000 if sample_rate_hz >= 16_000 else 32_000  # noqa: PLR2004 - MPEG-2, else MPEG-2.5
