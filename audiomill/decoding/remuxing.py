"""A customer's film with another sound: its picture's packets as they are, one sound track replaced, subtitles added.

Which tracks a file has, too: nothing is decoded for that. Opening files and FFmpeg's errors are `container`'s.
"""

import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from audiomill.decoding.container import from_ffmpeg, has_video, opened
from audiomill.errors import BadInput

_CODECS: dict[str, tuple[Literal["aac", "flac", "libopus"], str, Literal["mov_text", "subrip", "webvtt"]]] = {
    "mp4": ("aac", "fltp", "mov_text"),
    "mov": ("aac", "fltp", "mov_text"),
    "mkv": ("flac", "s16", "subrip"),
    "webm": ("libopus", "flt", "webvtt"),
}
"""Sound codec, its sample format, and subtitles that each container that we write takes. Matroska gets FLAC: it takes
it, and it neither loses anything nor begins before 0."""

WRITTEN = tuple(_CODECS)
_MUXERS = {"mkv": "matroska"}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_BLOCK_SECONDS = 1
_MOST_REORDERED = 32
"""Packets between the one that is decoded and the one that is shown: H.264 and H.265 allow 16."""
_CUE_SECONDS = Fraction(1, 1000)
_EBML_DOC_TYPE = b"\x42\x82"
# An ASS header without styles: mov_text's encoder wants one, and writes the sample description of the track from it.
_HEADER = b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\n\n[Events]\n"


@dataclass(frozen=True)
class SoundTrack:
    """One sound track. language: ISO 639-2, None where the file does not say. default: what players play."""

    language: str | None
    default: bool
    codec: str | None
    sample_rate_hz: int
    channels: int
    title: str | None


@dataclass(frozen=True)
class Tracks:
    """What is in a file, by its header. container: as it can be written again (one of WRITTEN), or None."""

    container: str | None
    has_picture: bool
    seconds: float | None
    sound: tuple[SoundTrack, ...]
    subtitle_languages: tuple[str | None, ...]


@dataclass(frozen=True)
class RemuxOrder:
    """What is wanted: see `audiomill.audio.remux`. subtitles: (language, title) of each track, cues in a file."""

    container: str
    replaced: int | None
    sample_rate_hz: int
    channels: int
    language: str
    title: str
    subtitles: list[list[str]]


@dataclass(frozen=True)
class Remuxed:
    """What was written. left_out: what the source has and the file has not, in words."""

    container: str
    sound_codec: str
    picture_packets: int
    left_out: tuple[str, ...]


class Output(Protocol):
    """A file to write to, at any place."""

    def write(self, data: Any, /) -> object:  # noqa: ANN401 - bytes-like
        """Write all of it."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there."""
        ...

    def tell(self) -> int:
        """Where that is."""
        ...


def tracks_of(file: BinaryIO) -> Tracks:
    """Read a file's header. Raises BadInput; not for a file without sound."""
    with opened(file) as container:
        default = default_track(container)
        return Tracks(
            container=written_container(file, container),
            has_picture=has_video(container),
            seconds=container.duration / av.time_base if container.duration else None,
            sound=tuple(
                SoundTrack(
                    language=_language(stream),
                    default=index == default,
                    codec=stream.codec_context.name if stream.codec_context else None,
                    sample_rate_hz=stream.sample_rate if stream.codec_context else 0,
                    channels=stream.channels if stream.codec_context else 0,
                    title=stream.metadata.get("title", "")[:200] or None,
                )
                for index, stream in enumerate(container.streams.audio)
            ),
            subtitle_languages=tuple(_language(stream) for stream in container.streams.subtitles),
        )


def default_track(container: InputContainer) -> int | None:
    """The sound track that players play: the first that is marked so, else the first."""
    streams = container.streams.audio
    marked = (index for index, stream in enumerate(streams) if stream.disposition & Disposition.default)
    return next(marked, 0) if streams else None


def written_container(file: BinaryIO, container: InputContainer) -> str | None:
    """The container in our words; FFmpeg reads mp4 and mov by one demuxer, and Matroska and WebM by another."""
    kind = container.format.name.split(",", maxsplit=1)[0]
    if kind == "mov":
        return "mov" if container.metadata.get("major_brand", "qt  ").startswith("qt") else "mp4"
    if kind == "matroska":
        start = os.pread(file.fileno(), 4096, 0)
        at = start.find(_EBML_DOC_TYPE)
        return "webm" if at >= 0 and start[at + 3 : at + 7] == b"webm" else "mkv"
    return None


def remux(source: BinaryIO, sound: BinaryIO, cues: BinaryIO, out: Output, order: RemuxOrder) -> Remuxed:
    """Write the film. sound: raw float32 [samples, channels]; cues: JSON, a list of [start_ms, end_ms, text] a track.

    Raises BadInput; OSError of `out`.
    """
    with opened(source) as container:
        try:
            return _written(container, sound, json.loads(cues.read()), out, order)
        except av.FFmpegError as error:
            raise from_ffmpeg(error, source) from error


def _written(container: InputContainer, sound: BinaryIO, cues: list[Any], out: Output, order: RemuxOrder) -> Remuxed:
    codec, sample_format, subtitle_codec = _CODECS[order.container]
    tracks = container.streams.audio
    replaced = order.replaced if order.replaced is not None else default_track(container)
    if order.replaced is not None and not 0 <= order.replaced < len(tracks):
        raise BadInput(
            f"There is no sound track {order.replaced + 1} in the file; it has {len(tracks)}.", code="no_such_track"
        )
    old = tracks[replaced] if replaced is not None else None
    muxer = _MUXERS.get(order.container, order.container)
    picture_packets = 0
    with av.open(cast("Any", out), mode="w", format=muxer, options={"fflags": "+bitexact"}) as target:
        kept, left_out = _kept(container, target, old)
        voice = _sound_stream(target, codec, sample_format, order)
        subtitles = [_subtitle_stream(target, subtitle_codec, language, title) for language, title in order.subtitles]
        # Sound and lines count from the sound's first sample, which need not be the film's beginning.
        begins = max(Fraction(0), _seconds(old.start_time, old.time_base)) if old is not None else Fraction(0)
        ours = _merged(
            _sound_packets(voice, sound, order, begins),
            *(
                _cue_packets(stream, found, subtitle_codec, begins)
                for stream, found in zip(subtitles, cues, strict=True)
            ),
        )
        target.start_encoding()
        pending = next(ours, None)
        for packet in _in_decoding_order(container, list(kept)):
            at = _seconds(packet.dts, packet.time_base)
            while pending is not None and pending[0] <= at:
                target.mux(pending[1])
                pending = next(ours, None)
            picture_packets += packet.stream.type == "video"
            packet.stream = kept[packet.stream]
            target.mux(packet)
        while pending is not None:
            target.mux(pending[1])
            pending = next(ours, None)
    return Remuxed(order.container, codec, picture_packets, tuple(left_out))


def _kept(
    container: InputContainer, target: OutputContainer, old: AudioStream | None
) -> tuple[dict[Stream, Stream], list[str]]:
    """The tracks that go over as they are, and what does not."""
    kept: dict[Stream, Stream] = {}
    left_out: list[str] = []
    for stream in container.streams:
        if stream is old:
            continue
        if stream.type not in {"video", "audio", "subtitle"} or stream.disposition & Disposition.attached_pic:
            left_out.append("a cover" if stream.type == "video" else f"a track of {stream.type}")
            continue
        try:
            copy = target.add_stream_from_template(stream, opaque=True)
            if isinstance(copy, VideoStream) and not copy.codec_context.width:
                raise ValueError("its size is known to its decoder only")  # MPEG-4 part 2 in MP4
        except ValueError:
            if stream.type == "video":
                raise BadInput(
                    "The picture is stored in a way (codec) that cannot be written to its own kind of file here. "
                    "Convert the file to MP4 and send it again.",
                    code="unsupported_picture",
                ) from None
            left_out.append(f"a track of {stream.type}")
            continue
        for name in ("language", "title"):
            if name in stream.metadata:
                copy.metadata[name] = stream.metadata[name]
        if stream.type == "video":
            copy.disposition = stream.disposition
        kept[stream] = copy
    return kept, left_out


def _in_decoding_order(container: InputContainer, streams: list[Stream]) -> "Iterator[Packet[Any]]":
    """Packets with the times that muxers ask for. Matroska writes none for decoding, and FFmpeg works them out with a
    decoder, which may not run here: the earliest that is still shown is a time by which a packet must be decoded."""
    matroska = container.format.name.startswith("matroska")
    held: dict[int, deque[Packet[Any]]] = {}
    for packet in container.demux(streams) if streams else ():  # of no streams PyAV makes all
        if packet.pts is None and packet.dts is None:
            continue  # the end of a track
        if packet.stream.type != "video" or not matroska:
            packet.dts = packet.pts if packet.dts is None else packet.dts
            yield packet
            continue
        waiting = held.setdefault(packet.stream.index, deque())
        waiting.append(packet)
        if len(waiting) > _MOST_REORDERED:
            yield _with_dts(waiting)
    for waiting in held.values():
        while waiting:
            yield _with_dts(waiting)


def _with_dts(waiting: "deque[Packet[Any]]") -> "Packet[Any]":
    packet = waiting[0]
    packet.dts = min(one.pts for one in waiting if one.pts is not None) if packet.pts is not None else packet.dts
    return waiting.popleft()


def _sound_stream(
    target: OutputContainer, codec: Literal["aac", "flac", "libopus"], sample_format: str, order: RemuxOrder
) -> AudioStream:
    stream = target.add_stream(codec, rate=order.sample_rate_hz)
    stream.layout = _LAYOUTS[order.channels]
    stream.format = sample_format
    stream.codec_context.flags |= Flags.bitexact
    stream.codec_context.thread_count = 1
    if codec != "flac":
        stream.codec_context.bit_rate = 96_000 + 48_000 * (order.channels - 1)
    stream.metadata["language"] = order.language
    stream.metadata["title"] = order.title
    stream.disposition = Disposition.default
    return stream


def _subtitle_stream(
    target: OutputContainer, codec: Literal["mov_text", "subrip", "webvtt"], language: str, title: str
) -> SubtitleStream:
    stream = target.add_stream(codec)
    stream.codec_context.subtitle_header = _HEADER
    stream.time_base = stream.codec_context.time_base = _CUE_SECONDS
    stream.metadata["language"] = language
    stream.metadata["title"] = title
    return stream


Timed: TypeAlias = "tuple[Fraction, Packet[Any]]"


def _sound_packets(stream: AudioStream, sound: BinaryIO, order: RemuxOrder, begins: Fraction) -> Iterator[Timed]:
    width = order.channels * np.dtype(np.float32).itemsize
    block_bytes = order.sample_rate_hz * _BLOCK_SECONDS * width
    first = round(begins * order.sample_rate_hz)
    offset = 0
    while data := os.pread(sound.fileno(), block_bytes, offset):
        block = np.clip(np.frombuffer(data[: len(data) // width * width], np.float32), -1.0, 1.0).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=_LAYOUTS[order.channels])
        frame.sample_rate, frame.pts = order.sample_rate_hz, first + offset // width
        frame.time_base = Fraction(1, order.sample_rate_hz)
        offset += len(data)
        yield from ((_seconds(packet.dts, packet.time_base), packet) for packet in stream.encode(frame))
    yield from ((_seconds(packet.dts, packet.time_base), packet) for packet in stream.encode(None))


def _cue_packets(stream: SubtitleStream, cues: list[Any], codec: str, begins: Fraction) -> Iterator[Timed]:
    for start_ms, end_ms, text in cues:
        data = str(text).encode()
        # 3GPP TS 26.245: the text's length in two bytes, then the text.
        packet: Packet[Any] = Packet(len(data).to_bytes(2, "big") + data if codec == "mov_text" else data)
        packet.stream = stream
        packet.time_base = _CUE_SECONDS
        packet.pts = packet.dts = round(begins * 1000) + int(start_ms)
        packet.duration = int(end_ms) - int(start_ms)
        yield Fraction(packet.pts, 1000), packet


def _merged(*streams: Iterator[Timed]) -> Iterator[Timed]:
    """All of them in the order of time, each read one packet ahead."""
    heads = [(next(stream, None), stream) for stream in streams]
    while True:
        live = [(head, index) for index, (head, _) in enumerate(heads) if head is not None]
        if not live:
            return
        head, index = min(live, key=lambda one: one[0][0])
        yield head
        heads[index] = (next(heads[index][1], None), heads[index][1])


def _seconds(value: int | None, base: Fraction | None) -> Fraction:
    return Fraction(0) if value is None or base is None else value * base


def _language(stream: Stream) -> str | None:
    language = stream.metadata.get("language", "")[:35]
    return None if language in {"", "und"} else language
