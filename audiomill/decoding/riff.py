"""The header of a WAV file, read by ourselves, because FFmpeg says only "invalid data" where a customer needs a reason.

Only what decoding must know: rate, channels, and whether the announced length fits the file. Samples are FFmpeg's.
Layout: RIFF/WAVE, Microsoft Multimedia Programming Interface 1.0 (1991); RF64: EBU Tech 3306.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from audiomill.errors import BadInput

_UNKNOWN_LENGTH = {0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000}
"""What programs that write to a pipe leave as the length: nothing is promised, so nothing is missing."""


_MOST_CHUNKS = 1_000
"""Before the sound, and behind it. Broadcast WAV has a dozen; each costs a read, and a file has room for millions."""


@dataclass(frozen=True)
class WavHeader:
    """What a WAV file says of itself.

    promised_bytes: length of the sound by the header; None when it promises nothing.
    held_bytes: what follows the header. `trailing` says whether the bytes after the promised length are chunks
        (tags, cue points), so that a promise shorter than the file is the truth.
    """

    sample_rate_hz: int
    channels: int
    bytes_per_second: int
    promised_bytes: int | None
    held_bytes: int
    trailing_chunks: bool

    @property
    def understates(self) -> bool:
        """There is more sound than the header says."""
        return self.promised_bytes is not None and self.promised_bytes < self.held_bytes and not self.trailing_chunks

    @property
    def missing_seconds(self) -> float:
        """How much sound the header promises and the file does not hold."""
        if self.promised_bytes is None or not self.bytes_per_second:
            return 0.0
        return max(0, self.promised_bytes - self.held_bytes) / self.bytes_per_second


def read_wav_header(file: BinaryIO) -> WavHeader | None:
    """The header of a RIFF or RF64 WAV file; None for anything else.

    Raises BadInput: `wav_header_cut`, `wav_zero_sample_rate`, `wav_zero_channels`, `too_many_chunks`.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(12)
    if start[:4] not in {b"RIFF", b"RF64"} or (len(start) == 12 and start[8:] != b"WAVE"):  # noqa: PLR2004 - the header's length
        return None
    return _walk(file, size)


def _walk(file: BinaryIO, size: int) -> WavHeader:
    """Chunk by chunk to the sound."""
    form: tuple[int, int, int] | None = None
    long_length: int | None = None
    chunks = 0
    while len(head := file.read(8)) == 8:  # noqa: PLR2004 - a chunk's head: name and length
        chunks += 1
        if chunks > _MOST_CHUNKS:
            raise BadInput(
                f"The WAV file has more than {_MOST_CHUNKS:,} chunks before its sound, where a recording has a few. "
                "It is damaged. Export it again.",
                code="too_many_chunks",
            )
        name, length = struct.unpack("<4sI", head)
        body = file.tell()
        if name == b"ds64":
            long_length = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            form = _form(file.read(16))
        elif name == b"data":
            if form is None:
                break
            promised = long_length if length == 0xFFFFFFFF and long_length else length  # noqa: PLR2004 - RF64's mark
            trailing = _chunks_from(file, body + promised + promised % 2, size)
            # A recorder that was switched off leaves 0, with sound behind it; 0 before tags or the end means 0.
            unknown = promised in _UNKNOWN_LENGTH or (promised == 0 and not trailing)
            return WavHeader(*form, None if unknown else promised, held_bytes=size - body, trailing_chunks=trailing)
        file.seek(body + length + length % 2)
    raise BadInput(
        "The WAV file ends inside its header, before any sound. It was probably cut off while it was copied or "
        "uploaded; send the complete file.",
        code="wav_header_cut",
    )


def _form(body: bytes) -> tuple[int, int, int] | None:
    """Rate, channels and bytes per second of the `fmt ` chunk; None when it is cut."""
    if len(body) < 16:  # noqa: PLR2004 - the chunk's least length
        return None
    channels, rate, bytes_per_second = struct.unpack("<2xHII4x", body)
    if not channels:
        raise BadInput(
            "The WAV file's header says that it has 0 channels, so its sound cannot be read. Export it again.",
            code="wav_zero_channels",
        )
    if not rate:
        raise BadInput(
            "The WAV file's header says that its sample rate is 0 Hz, so its sound cannot be read. Export it again.",
            code="wav_zero_sample_rate",
        )
    return rate, channels, bytes_per_second


def _chunks_from(file: BinaryIO, position: int, size: int) -> bool:
    """Whether chunks, and nothing else, lie from `position` to the end of the file (a last pad byte is forgiven)."""
    for _ in range(_MOST_CHUNKS):
        if size - position <= 1:
            break
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):  # noqa: PLR2004 - a name is printable ASCII
            return False
        length = int.from_bytes(head[4:], "little")
        position += 8 + length + length % 2
    return position <= size + 1  # after a thousand of them in a row there is no doubt
