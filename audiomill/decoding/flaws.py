"""What is wrong with a recording that can be worked on all the same. What makes it unusable is `decode`'s to refuse."""

from dataclasses import dataclass
from typing import BinaryIO

import av
from av.container import InputContainer

from audiomill.decoding.riff import WavHeader

_SHORTFALL_SECONDS = 0.5
"""A recording is called cut when it ends so much before its container's announced end (and 1 % of its length)."""

_ANNOUNCING = {"flac", "mov", "matroska", "wav"}
"""Containers that write their length down. Others let FFmpeg guess it from the bit rate."""


@dataclass(frozen=True)
class Flaw:
    """Something wrong with a recording that could be worked on all the same: a stable code and a sentence."""

    code: str
    message: str


def flaws_of_data(lost_bytes: int, all_bytes: int) -> tuple[Flaw, ...]:
    """`damaged_in_places`, when packets could not be decoded."""
    if not lost_bytes:
        return ()
    share = max(lost_bytes / max(all_bytes, 1), 0.001)
    return (Flaw("damaged_in_places", f"{share:.1%} of the recording's data is damaged and was left out."),)


def flaws_of_length(
    container: InputContainer, file: BinaryIO, header: WavHeader | None, decoded_seconds: float
) -> tuple[Flaw, ...]:
    """`wrong_length_in_header` (more sound than a WAV header says) or `cut_off` (less than the container says)."""
    if header is not None and header.understates:
        said = "The WAV header names a shorter length than the file has; all of it was used."
        return (Flaw("wrong_length_in_header", said),)
    announced = container.duration / av.time_base if container.duration else 0.0
    if header is not None and header.missing_seconds:
        announced = decoded_seconds + header.missing_seconds
    kind = container.format.name.split(",", maxsplit=1)[0]
    known = kind in _ANNOUNCING or (kind == "mp3" and _has_mp3_length(file))
    if not known or announced - decoded_seconds <= max(_SHORTFALL_SECONDS, 0.01 * announced):
        return ()
    said = (
        f"The recording says that it is {announced:.1f} seconds long, but ends after {decoded_seconds:.1f} seconds; it "
        "was probably cut off. What is there was used."
    )
    return (Flaw("cut_off", said),)


def _has_mp3_length(file: BinaryIO) -> bool:
    """Whether an MP3's first frame is a Xing, Info or VBRI frame, which holds the true length."""
    file.seek(0)
    start = file.read(10)
    # ID3v2.4, section 3.1: the tag's size is written in four 7-bit bytes.
    tag = sum(byte << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=False))
    file.seek(10 + tag if start[:3] == b"ID3" else 0)
    frame = file.read(512)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
