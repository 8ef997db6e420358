"""A file may not make us open another file or an address, whatever it contains or is called."""

import socket
import threading

import pytest

from audiomill.audio import decode, probe
from audiomill.decoding.container import CONTAINERS
from audiomill.errors import BadInput
from audiomill.settings import LimitSettings
from tests.fakes.decoding_here import decoded_here
from tests.fakes.recordings import GOOD, encoded, tone, wav

LIMITS = LimitSettings()

# What names other files or streams, or runs a filter or a device: none of it may be recognised.
REFERRING = {
    "concat", "hls", "applehttp", "dash", "webm_dash_manifest", "imf", "sdp", "rtsp", "rtp", "sap", "mpjpeg", "lavfi",
    "vapoursynth", "avisynth", "image2", "image2pipe", "ffmetadata", "tty", "tedcaptions", "alsa", "fbdev", "kmsgrab",
    "v4l2", "x11grab",
}  # fmt: skip


@pytest.fixture
def listener():
    """A server on loopback that notes whether anyone called."""
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def accept():
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                calls.append(connection)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], calls
        stop.set()
        thread.join()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
    'contentType="audio"><Representation id="a" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>\n',
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
}


@pytest.mark.parametrize("ending", ["wav", "m3u8", "mpd", "ffconcat", "sdp", "mp3"])
@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("scheme", ["http", "file", "tcp", "relative"])
def test_a_playlist_opens_nothing(kind, scheme, ending, tmp_path, listener):
    port, calls = listener
    (tmp_path / "secret.wav").write_bytes(wav(GOOD))
    target = {
        "http": f"http://127.0.0.1:{port}/a.wav",
        "tcp": f"tcp://127.0.0.1:{port}",
        "file": f"file://{tmp_path}/secret.wav",
        "relative": "secret.wav",
    }[scheme]
    path = tmp_path / f"list.{ending}"
    path.write_text(PLAYLISTS[kind].format(target=target, port=port))
    for read in (lambda p: probe(p, limits=LIMITS), lambda p: decode(p, limits=LIMITS)):
        with pytest.raises(BadInput) as caught:
            read(path)
        assert caught.value.code == "not_a_recording"
    assert calls == []


def test_the_second_wall_holds_without_the_first(tmp_path, listener, monkeypatch):
    """Were a playlist recognised some day, no address could be called all the same."""
    monkeypatch.setattr("audiomill.decoding.container.CONTAINERS", ("hls", "wav"))
    port, calls = listener
    path = tmp_path / "list.m3u8"
    path.write_text(PLAYLISTS["hls"].format(target=f"http://127.0.0.1:{port}/a.ts"))
    with pytest.raises(BadInput):
        decoded_here(path)
    assert calls == []


@pytest.mark.parametrize(
    "name", ["concat:secret.wav|secret.wav", "http:", "pipe:0", "subfile,,start,0,end,9,,:secret.wav", "-"]
)
def test_a_name_is_a_name_and_no_order_to_ffmpeg(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.wav").write_bytes(wav(GOOD))
    path = tmp_path / name
    path.write_bytes(b"no sound at all, but text")
    for given in (path, path.relative_to(tmp_path)):
        with pytest.raises(BadInput) as caught:
            decode(given, limits=LIMITS)
        assert caught.value.code == "not_a_recording"
    path.write_bytes(wav(GOOD))
    assert decode(path.relative_to(tmp_path), limits=LIMITS).audio.seconds == 1.0


def test_an_mp4_whose_data_lies_elsewhere(tmp_path):
    """QuickTime's data references: a movie may say that its samples are in another file."""
    outside = encoded(tmp_path / "secret.mov", "pcm_s16le", tone(0.5)[None], rate=16_000).read_bytes()
    # The self-reference (`url `, flags 1: "here") becomes an alias to another file (flags 0).
    here = b"\x00\x00\x00\x0curl \x00\x00\x00\x01"
    assert here in outside
    place = outside.index(here) + 8
    path = tmp_path / "refers.mov"
    path.write_bytes(outside[:place] + b"\x00\x00\x00\x00" + outside[place + 4 :])
    # Without a usable target FFmpeg reads the samples from this very file; nothing else is opened either way.
    assert decode(path, limits=LIMITS).audio.seconds == pytest.approx(0.5)


def test_no_container_of_ours_refers_to_others():
    assert not REFERRING & set(CONTAINERS)
