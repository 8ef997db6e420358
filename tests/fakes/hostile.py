"""Small files made to take much: memory, time, disk. All synthetic; nothing in them is of anyone."""

import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path

import av
import numpy as np

from tests.fakes.recordings import encoded, tone


def m4a_of_samples_that_are_not_there(folder: Path, *, tracks: int = 1, samples: int = 80_000_000) -> bytes:
    """A few hundred bytes whose tables promise millions of samples: the index of one track takes 24 bytes for each."""
    with av.open(str(folder / "tracks.m4a"), "w", format="ipod") as out:
        streams = [out.add_stream("aac", rate=16_000) for _ in range(tracks)]
        for stream in streams:
            stream.layout = "mono"
        out.start_encoding()
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            out.mux([*stream.encode(frame), *stream.encode(None)])
    data = bytearray((folder / "tracks.m4a").read_bytes())
    for name, values in {
        b"stsz": (0, 1, samples),  # version, one size for all, how many
        b"stts": (0, 1, samples, 1024),  # version, one entry: so many samples, each of a frame
        b"stsc": (0, 1, 1, samples, 1),  # version, one entry: from chunk 1 on, so many samples a chunk
        b"stco": (0, 1),
    }.items():
        place = -1
        while (place := data.find(name, place + 1)) >= 0:
            struct.pack_into(f">{len(values)}I", data, place + 4, *values)
    return bytes(data.replace(b"edts", b"free"))  # an edit list would end the index where the sound does


@cache
def png(width: int, height: int) -> bytes:
    """A black picture, three bytes a pixel once it is decoded."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def flac_with_cover(folder: Path, cover: bytes) -> bytes:
    """A second of tone, and a picture in front of it."""
    sound = encoded(folder / "cover.flac", "flac", tone(1.0)[None], rate=16_000).read_bytes()
    kind = struct.pack(">I", 3) + struct.pack(">I", 9) + b"image/png"
    block = kind + struct.pack(">IIIIII", 0, 16_000, 16_000, 24, 0, len(cover)) + cover
    # After the marker and STREAMINFO (38 bytes of block): a block of type 6.
    return sound[:42] + b"\x06" + len(block).to_bytes(3, "big") + block + sound[42:]


def mkv_with_covers(cover: bytes, count: int) -> bytes:
    """A second of tone, and pictures attached to it."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("flac", rate=16_000)
        stream.layout = "mono"
        for index in range(count):
            out.add_attachment(f"cover{index}.png", "image/png", cover)
        frame = av.AudioFrame.from_ndarray((tone(1.0)[None] * 32_000).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    return buffer.getvalue()


def wav_of_empty_chunks(count: int) -> bytes:
    """Chunks of no length, one after the other, and no sound behind them."""
    body = b"WAVE" + b"junk\0\0\0\0" * count
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def flac_of_silence(seconds: int, *, rate: int = 1_000) -> bytes:
    """Silence in FLAC's largest blocks: 15 bytes hold 65,535 samples, a minute at the lowest rate that is taken."""
    block = 65_535
    count = seconds * rate // block + 1
    form = (rate << 44) | (0 << 41) | (15 << 36) | (count * block)  # rate, channels - 1, bits - 1, samples
    info = struct.pack(">HH", block, block) + bytes(6) + form.to_bytes(8, "big") + bytes(16)
    frames = bytearray()
    for number in range(count):
        # Fixed blocks, length written out in 16 bits, rate as in STREAMINFO, mono, 16 bit.
        head = b"\xff\xf8\x70\x08" + chr(number).encode("utf-8", "surrogatepass") + struct.pack(">H", block - 1)
        frame = head + bytes([_crc(head, 0x07, 8)]) + b"\x00\x00\x00"  # one constant, 0
        frames += frame + struct.pack(">H", _crc(frame, 0x8005, 16))
    return b"fLaC\x80\x00\x00\x22" + info + bytes(frames)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top = 0, 1 << (bits - 1)
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = ((value << 1) ^ polynomial if value & top else value << 1) & ((1 << bits) - 1)
    return value
