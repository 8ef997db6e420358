"""A film with another sound and subtitles: every packet of its picture as it was, in each container, confined."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from audiomill.audio import Audio, decode
from audiomill.audio.remux import SubtitleTrack, remux, tracks
from audiomill.errors import BadInput
from audiomill.settings import LimitSettings
from tests.fakes.recordings import tone
from tests.unit.test_audio_broken import is_sentence

LIMITS = LimitSettings()
ENGLISH = SubtitleTrack("eng", "English", ((0, 900, "Hello & <b>you</b>"), (1000, 1900, "Two\nlines")))
SPANISH = SubtitleTrack("spa", "Español", ((100, 900, "¡Hola!"), (1000, 1900, "Dos\nlíneas 日本")))
CODECS = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "mkv": ("libx264", "flac"),
    "webm": ("libvpx", "libopus"),
}


def film(path, *, codec=None, sounds=("eng",), picture=True, uneven=False, default=None, seconds=2.0):
    """A film in the container of its ending: moving grey, a tone of its own for each sound track."""
    film_codec, sound_codec = CODECS[path.suffix[1:]]
    film_codec = codec or film_codec
    with av.open(str(path), "w", format={"mkv": "matroska"}.get(path.suffix[1:], path.suffix[1:])) as out:
        shown = None
        if picture:
            shown = out.add_stream(film_codec, rate=25)
            shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
            shown.codec_context.time_base = Fraction(1, 1000)
        heard = []
        for number, language in enumerate(sounds):
            track = out.add_stream(sound_codec, rate=48_000)
            track.layout = "mono"
            track.metadata["language"] = language
            if default is not None:
                track.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            heard.append(track)
        for index in range(round(25 * seconds) if shown else 0):
            picture_frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * index % 255, np.uint8), format="rgb24")
            picture_frame.time_base = Fraction(1, 1000)
            picture_frame.pts = index * 40 + (index * 7 % 23 if uneven else 0)
            out.mux(shown.encode(picture_frame))
        if shown:
            out.mux(shown.encode(None))
        for number, track in enumerate(heard):
            sound = tone(seconds, rate=48_000, hz=300 + 200 * number)[None]
            frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 0
            out.mux([*track.encode(frame), *track.encode(None)])
    return path


def packets(path, kind):
    """(bytes, pts in seconds, duration) of every packet of a kind of track, with the track's place."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux([stream for stream in container.streams if stream.type == kind]):
            if packet.pts is not None:
                at = (float(packet.pts * packet.time_base), float((packet.dts or 0) * packet.time_base))
                found.append((packet.stream.index, bytes(packet), at, packet.is_keyframe))
    return found


def pitch_hz(audio):
    samples = audio.samples[0]
    return np.argmax(np.abs(np.fft.rfft(samples))) * audio.sample_rate_hz / len(samples)


def new_sound(seconds=2.0, hz=1000, rate=48_000, channels=1):
    return Audio(np.repeat(tone(seconds, rate=rate, hz=hz)[None], channels, axis=0), rate)


def remuxed(source, sound=None, **keywords):
    out = source.with_name(f"dub{source.suffix}")
    arguments = {"container": source.suffix[1:], "language": "spa", "subtitles": (ENGLISH, SPANISH), "limits": LIMITS}
    return remux(source, sound or new_sound(), out, **(arguments | keywords)), out


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("uneven", [False, True])
def test_the_picture_is_the_same_to_the_bit_the_sound_is_new_the_subtitles_are_there(tmp_path, kind, uneven):
    source = film(tmp_path / f"film.{kind}", uneven=uneven)
    done, out = remuxed(source)
    before, after = packets(source, "video"), packets(out, "video")
    assert [(data, key) for _, data, _, key in after] == [(data, key) for _, data, _, key in before]
    shift = {round(now[2][0] - was[2][0], 2) for was, now in zip(before, after, strict=True)}
    assert shift == {0.0}
    assert done.picture_packets == len(before) == 50
    dubbed = decode(out, limits=LIMITS).audio
    assert pitch_hz(dubbed) == pytest.approx(1000, abs=10)
    assert dubbed.seconds == pytest.approx(2.0, abs=0.05)
    found = tracks(out, limits=LIMITS)
    assert (found.container, found.has_picture) == (kind, True)
    assert [(track.language, track.default) for track in found.sound] == [("spa", True)]
    assert found.subtitle_languages == ("eng", "spa")
    lines = [(data[2:] if kind in {"mp4", "mov"} else data, at[0]) for _, data, at, _ in packets(out, "subtitle")]
    shown = {data.decode(): at for data, at in lines if data}
    for start, _, text in (*ENGLISH.cues, *SPANISH.cues):
        assert shown[text] == pytest.approx(start / 1000, abs=0.03)


def test_the_same_film_comes_out_the_same(tmp_path):
    for kind in ("mp4", "mkv"):
        source = film(tmp_path / f"film.{kind}")
        first = remuxed(source)[1].read_bytes()
        assert remuxed(source)[1].read_bytes() == first


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_of_five_sound_tracks_the_chosen_one_is_replaced_and_the_others_stay(tmp_path, kind):
    source = film(tmp_path / f"film.{kind}", sounds=("eng", "fra", "deu", "ita", "por"), default=2)
    found = tracks(source, limits=LIMITS)
    assert [track.language for track in found.sound] == ["eng", "fra", "deu", "ita", "por"]
    assert [track.default for track in found.sound] == [False, False, True, False, False]
    for number in range(5):
        heard = decode(source, track=number, limits=LIMITS).audio
        assert pitch_hz(heard) == pytest.approx(300 + 200 * number, abs=10)
    with pytest.raises(BadInput, match="no sound track 6"):
        decode(source, track=5, limits=LIMITS)
    _, out = remuxed(source)
    assert {track.language for track in tracks(out, limits=LIMITS).sound} == {"eng", "fra", "spa", "ita", "por"}
    _, out = remuxed(source, replaced=1)
    after = tracks(out, limits=LIMITS).sound
    assert {track.language for track in after} == {"eng", "spa", "deu", "ita", "por"}
    assert [track.language for track in after if track.default] == ["spa"]
    with pytest.raises(BadInput) as caught:
        remuxed(source, replaced=5)
    assert caught.value.code == "no_such_track"
    assert is_sentence(caught.value.message)
    assert not out.exists()


def test_without_sound_without_picture_and_with_stereo_of_another_rate(tmp_path):
    done, out = remuxed(film(tmp_path / "silent.mp4", sounds=()))
    assert (done.picture_packets, pitch_hz(decode(out, limits=LIMITS).audio)) == (50, pytest.approx(1000, abs=10))
    assert tracks(tmp_path / "silent.mp4", limits=LIMITS).sound == ()
    blind = film(tmp_path / "blind.mkv", picture=False)
    assert not tracks(blind, limits=LIMITS).has_picture
    done, out = remuxed(blind, new_sound(3.0, rate=16_000, channels=2))
    assert done.picture_packets == 0
    dubbed = decode(out, limits=LIMITS).audio
    assert (dubbed.channels, dubbed.seconds) == (2, pytest.approx(3.0, abs=0.05))


def test_what_cannot_be_written_is_refused_with_a_sentence(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    old = film(tmp_path / "old.mp4", codec="mpeg4")
    for source, keywords in ((text, {}), (film(tmp_path / "film.mp4"), {"container": "avi"}), (old, {})):
        with pytest.raises(BadInput) as caught:
            remuxed(source, **keywords)
        assert is_sentence(caught.value.message), caught.value.message
        assert not (tmp_path / "dub.mp4").exists()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((tmp_path / "film.mp4").read_bytes()[:3000])
    with pytest.raises(BadInput):
        remuxed(cut)


def test_the_product_never_opens_the_film_itself(tmp_path, monkeypatch):
    source = film(tmp_path / "film.mp4")
    monkeypatch.setattr(av, "open", None)
    done, out = remuxed(source)
    assert done.picture_packets == 50
    assert Path(out).stat().st_size > 1000
