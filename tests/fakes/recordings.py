"""Recordings as customers send them, good and broken, made on the spot; randomness has a seed."""

import struct
from pathlib import Path

import av
import numpy as np

RATE = 16_000


def tone(seconds: float = 1.0, *, rate: int = RATE, hz: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float32 [samples]."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def pcm16(samples: np.ndarray) -> bytes:
    """Samples -1 to 1 as little-endian 16 bit."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def wav(
    data: bytes,
    *,
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    form: int = 1,
    says_bytes: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """A WAV file. `form`: 1 integer, 3 float, 7 µ-law. `says_bytes`: what the header claims. `tail`: chunks behind."""
    frame = channels * bits // 8
    said = len(data) if says_bytes is None else says_bytes
    head = struct.pack("<HHIIHH", form, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", said) + data + tail
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def encoded(
    path: Path, codec: str, samples: np.ndarray, *, rate: int, container: str | None = None, options: dict | None = None
) -> Path:
    """Write float32 [channels, samples] with any of FFmpeg's encoders, in the encoder's own sample format."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.layout = {1: "mono", 2: "stereo"}.get(samples.shape[0], f"{samples.shape[0]} channels")
        stream.codec_context.bit_rate = 96_000 * samples.shape[0]
        interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=stream.layout)
        frame.sample_rate, frame.pts = rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def video(path: Path, *, sound: np.ndarray | None = None, rate: int = 48_000, pictures: int = 25) -> Path:
    """A film of moving grey, silent or with a sound track (float32 [channels, samples])."""
    with av.open(str(path), "w") as out:
        film = out.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        track = None
        if sound is not None:
            track = out.add_stream("aac", rate=rate)
            track.layout = {1: "mono", 2: "stereo"}[sound.shape[0]]
        for index in range(pictures):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * index % 255, np.uint8), format="rgb24")
            out.mux(film.encode(picture))
        out.mux(film.encode(None))
        if track is not None:
            frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=track.layout)
            frame.sample_rate, frame.pts = rate, 0
            out.mux([*track.encode(frame), *track.encode(None)])
    return path


def mp3(seconds: float = 3.0) -> bytes:
    """A good MP3 of a tone, 44.1 kHz mono."""
    from audiomill.audio import Audio, encode

    return encode(Audio(tone(seconds, rate=44_100)[None], 44_100), "mp3").data


def random_bytes(count: int, seed: int) -> bytes:
    """Bytes that are nothing; the same for the same seed."""
    return np.random.default_rng(seed).bytes(count)


def _with_bad_numbers() -> bytes:
    samples = tone()
    samples[4000], samples[5000], samples[6000] = np.nan, np.inf, -np.inf
    return wav(samples.astype("<f4").tobytes(), form=3, bits=32)


GOOD = pcm16(tone())

BROKEN: dict[str, tuple[bytes, set[str]]] = {
    "empty.wav": (b"", {"empty_file"}),
    "text.wav": ("Dear Sir or Madam, this is a letter, ünd kein Ton.\n".encode() * 200, {"not_a_recording"}),
    "word.wav": (b"hello", {"not_a_recording"}),
    "random.mp3": (random_bytes(200_000, 1), {"undecodable_sound", "not_a_recording"}),
    "cut-in-riff.wav": (wav(GOOD)[:7], {"wav_header_cut"}),
    "cut-in-fmt.wav": (wav(GOOD)[:30], {"wav_header_cut"}),
    "cut-before-data.wav": (wav(GOOD)[:40], {"wav_header_cut"}),
    "rate-0.wav": (wav(GOOD, rate=0), {"wav_zero_sample_rate"}),
    "rate-1.wav": (wav(GOOD, rate=1), {"sample_rate_out_of_range"}),
    "rate-2-million.wav": (wav(GOOD, rate=2_000_000), {"sample_rate_out_of_range"}),
    "channels-0.wav": (wav(GOOD, channels=0), {"wav_zero_channels"}),
    "channels-65535.wav": (wav(GOOD, channels=65_535), {"undecodable_sound"}),
    "nan.wav": (_with_bad_numbers(), {"not_finite"}),
    "no-samples.wav": (wav(b""), {"no_samples"}),
    "no-samples-but-tags.wav": (wav(b"", tail=b"LIST\x04\x00\x00\x00INFO"), {"no_samples"}),
    "playlist.m3u8": (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\ngood.wav\n#EXT-X-ENDLIST\n", {"not_a_recording"}),
    "picture.mp3": (b"\x89PNG\r\n\x1a\n" + random_bytes(5000, 2), {"not_a_recording"}),
}
"""Name: bytes, and the codes that decoding may end with."""
