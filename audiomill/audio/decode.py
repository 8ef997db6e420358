"""From a customer's file to Audio, by a process that holds that file and nothing else. How: audiomill/decoding."""

import errno
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from audiomill.audio.audio import Audio
from audiomill.audio.decoders import decoders
from audiomill.audio.spool import mapped
from audiomill.decoding.flaws import Flaw
from audiomill.decoding.reading import HIGHEST_HZ, LOWEST_HZ, Order, Probe, Sound, plausible_seconds
from audiomill.decoding.remuxing import Remuxed, Tracks
from audiomill.errors import AudiomillError, BadInput, LimitExceeded, OperatorError, StorageUnavailable
from audiomill.scratch import SCRATCH_UNAVAILABLE, nameless_file
from audiomill.settings import LimitSettings

_LEAST_CPU_SECONDS, _CPU_SECONDS_PER_MEGABYTE, _CPU_SECONDS_PER_SECOND = 20.0, 1.0, 0.01
"""What decoding may take. An hour of MP3 (58 MB) takes 4 s; the slowest codec of all (Monkey's Audio, insane) some
0.3 s a megabyte."""

_WALL_FACTOR, _WALL_SECONDS = 4.0, 30.0
"""Of the CPU's time: on a machine with more runs than cores a process waits."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""What is said of the disk that is written to, and not of one file that is read."""

_LOUDEST_FORM_HZ, _LOUDEST_FORM_CHANNELS = 48_000, 2
"""What `max_seconds` of sound may take on the disk when the recording's own form is kept."""

_KINDS: dict[str, type[AudiomillError]] = {
    "BadInput": BadInput, "LimitExceeded": LimitExceeded, "StorageUnavailable": StorageUnavailable,
}  # fmt: skip

Plain = TypeVar("Plain", Probe, Sound, Tracks, Remuxed)


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
    track: int | None = None,
    limits: LimitSettings,
) -> Decoded:
    """Decode the sound of a file.

    sample_rate_hz: resample to this rate; None keeps the recording's own. mono: the mean of all channels. spool: a file
    to write the samples to (raw float32); the Audio is then a read-only memory map of it, and the caller removes the
    file. Without it long sound is mapped from a nameless file in the scratch folder. track: which of its sound tracks,
    0 the first (`audiomill.audio.remux.tracks` lists them); None: the one that FFmpeg calls best.

    A recording that was cut off, or is damaged in places, is decoded as far as it goes, with a flaw that says so:
    `cut_off`, `damaged_in_places`, `wrong_length_in_header`.

    Raises BadInput (`empty_file`, `not_a_recording`, `damaged_recording`, `no_sound_track`, `unsupported_codec`,
    `undecodable_sound`, `wav_header_cut`, `wav_zero_sample_rate`, `wav_zero_channels`, `too_many_chunks`,
    `sample_rate_out_of_range`, `not_finite`, `no_samples`, `implausible_length`, `needs_too_much_memory`,
    `decoding_takes_too_long`, `decoder_crashed`, `no_such_track`), LimitExceeded (`recording_too_large`,
    `recording_too_long`), StorageUnavailable when the machine cannot read the file or write the samples, OperatorError,
    FileNotFoundError.
    """
    most_bytes = int(
        limits.max_seconds * (sample_rate_hz or _LOUDEST_FORM_HZ) * (1 if mono else _LOUDEST_FORM_CHANNELS) * 4
    )
    order = Order(sample_rate_hz, mono, limits.max_seconds, most_bytes, track)
    with path.open("rb") as file:
        check_size(file, limits)
        try:
            with spool.open("w+b") if spool is not None else nameless_file() as out:
                sound = answered(asked(file, out, order, limits), Sound)
                _check(sound, order, out)
                audio = mapped(out, sound.samples, sound.channels, sound.sample_rate_hz, short_too=spool is not None)
        except BaseException:
            if spool is not None:
                spool.unlink(missing_ok=True)
            raise
    return Decoded(audio, sound.flaws, sound.source_sample_rate_hz, sound.source_channels)


def asked(file: BinaryIO, out: BinaryIO | None, order: Order | None, limits: LimitSettings) -> dict[str, Any]:
    """The answer of a decoding process, one of `result` and `refused` in it. Raises as `Decoders.ask`."""
    size = os.fstat(file.fileno()).st_size
    seconds = min(limits.max_seconds, plausible_seconds(size)) if order is not None else 0.0
    cpu = _LEAST_CPU_SECONDS + _CPU_SECONDS_PER_MEGABYTE * size / 1e6 + _CPU_SECONDS_PER_SECOND * seconds
    request = {
        "order": None if order is None else asdict(order),
        "limits": {
            "memory_bytes": limits.max_decoding_memory_bytes,
            "cpu_seconds": cpu,
            # A little more than may be written, so that the sentence is reached before the kernel's refusal.
            "written_bytes": 1 << 20 if order is None else order.most_bytes + (64 << 20),
        },
    }
    handed = [file.fileno(), *([] if out is None else [out.fileno()])]
    return decoders().ask(request, handed, wall_seconds=_WALL_SECONDS + _WALL_FACTOR * cpu)


def answered(answer: dict[str, Any], kind: type[Plain]) -> Plain:
    """The result in an answer. Raises what was refused; OperatorError when the answer is not as it must be."""
    if isinstance(refused := answer.get("refused"), dict):
        error = _KINDS.get(str(refused.get("kind")), BadInput)(
            str(refused.get("message"))[:1000], code=str(refused.get("code"))[:100]
        )
        if detail := str(refused.get("detail") or ""):
            error.__cause__ = DecoderSaid(detail[:1000])
        raise error
    if "machine" in answer:
        number = answer["machine"]
        why = os.strerror(number) if isinstance(number, int) else "for a reason unknown"
        raise StorageUnavailable(
            f"The recording could not be read, or its sound not be written, on this machine: {why}.",
            code=SCRATCH_UNAVAILABLE if isinstance(number, int) and number in _NO_ROOM else None,
        )
    if isinstance(result := answer.get("result"), dict) and set(result) == {field.name for field in fields(kind)}:
        if kind is Sound:
            result["flaws"] = tuple(Flaw(str(flaw["code"]), str(flaw["message"])) for flaw in result["flaws"])
        return kind(**result)
    raise OperatorError(f"A decoding process broke: {str(answer.get('broken'))[:100]}.", code="decoder_broke")


class DecoderSaid(Exception):
    """FFmpeg's own words, for the operator: the cause of what a customer is told."""


def _check(sound: Sound, order: Order, out: BinaryIO) -> None:
    """Whether what is said to be written is there: a map of what is not there would kill this process."""
    numbers = (sound.samples, sound.channels, sound.sample_rate_hz, sound.source_sample_rate_hz, sound.source_channels)
    if (
        all(isinstance(number, int) and number > 0 for number in numbers)
        and LOWEST_HZ <= sound.sample_rate_hz <= HIGHEST_HZ
        and sound.channels == (1 if order.mono else sound.channels)
        and os.fstat(out.fileno()).st_size == sound.samples * sound.channels * np.dtype(np.float32).itemsize
    ):
        return
    raise OperatorError("A decoding process said something else than it did.", code="decoder_broke")


def check_size(file: BinaryIO, limits: LimitSettings) -> None:
    """Raises BadInput (`empty_file`), LimitExceeded (`recording_too_large`)."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise BadInput("The file is empty (0 bytes). Send it again.", code="empty_file")
    if size > limits.max_bytes:
        raise LimitExceeded(
            f"The recording is {size / 1e9:.2f} GB large; at most {limits.max_bytes / 1e9:.2f} GB are taken. "
            "Split it, or send it compressed.",
            code="recording_too_large",
        )
