"""Voice and background of a recording as two files: the source again, whatever the order of the chunks; bad inputs."""

import numpy as np
import pytest

from audiomill.audio import decode
from audiomill.engines.cores import CoreBudget
from audiomill.engines.separation import protocol
from audiomill.engines.separation.protocol import separated
from audiomill.engines.separation.rnnoise import RNNoise
from audiomill.errors import BadInput
from audiomill.settings import LimitSettings
from audiomill.stages.separate.stems import Stems, opened, units
from tests.fakes.films import film
from tests.fakes.recordings import pcm16, tone, video, wav
from tests.unit.test_audio_broken import is_sentence

LIMITS = LimitSettings()


def source_of(path, folder, **keywords):
    return opened(path, spool=folder / "samples", limits=LIMITS, **keywords)


def noisy(seconds=65.0, rate=16_000):
    noise = np.random.default_rng(3).standard_normal(round(seconds * rate)) * 0.05
    return (tone(seconds, rate=rate, hz=200) + noise).astype(np.float32)


def test_voice_and_background_are_the_source_again_in_whatever_order_chunks_come(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(pcm16(noisy())))
    source = source_of(path, tmp_path)
    engine = RNNoise(model_store=tmp_path, budget=CoreBudget(tmp_path / "cores", 1))
    results = [engine.separate([chunk])[0] for chunk in units(source, context_seconds=engine.context_seconds)]
    assert len(results) == 4
    written = []
    for order in (range(4), (2, 0, 3, 1)):
        folder = tmp_path / f"order{order[0]}"
        folder.mkdir()
        stems = Stems(source, folder)
        for index in order:
            stems.keep(index, results[index])
        files = stems.files()
        assert sorted(path.name for path in folder.iterdir()) == ["background.flac", "voice.flac"]
        written.append([files[name].read_bytes() for name in ("voice", "background")])
    assert written[0] == written[1]
    voice, background = (decode(files[name], limits=LIMITS).audio for name in ("voice", "background"))
    assert voice.sample_rate_hz == source.audio.sample_rate_hz
    assert np.array_equal(voice.samples + background.samples, source.audio.samples)


def test_the_voice_of_each_chunk_is_kept_to_the_bit(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(pcm16(noisy(3.0))))
    source = source_of(path, tmp_path)
    (chunk,) = units(source, context_seconds=1.0)
    result = separated(chunk, np.random.default_rng(0).uniform(-2, 2, (1, chunk.last - chunk.first)).astype(np.float32))
    stems = Stems(source, tmp_path)
    stems.keep(0, result)
    whole = protocol.joined(source.audio, [result.voice])
    assert np.array_equal(decode(stems.files()["voice"], limits=LIMITS).audio.samples, whole.voice.samples)


def test_a_missing_chunk_is_a_fault_of_ours(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(pcm16(noisy(50.0))))
    source = source_of(path, tmp_path)
    found = list(units(source, context_seconds=1.0))
    stems = Stems(source, tmp_path)
    stems.keep(0, separated(found[0], np.zeros((1, found[0].last - found[0].first), np.float32)))
    with pytest.raises(ValueError, match="for a source of"):
        stems.files()


def test_of_five_sound_tracks_the_first_or_the_chosen_one_is_heard(tmp_path):
    sounds = [tone(1.0, rate=48_000, hz=300 + 200 * number)[None] for number in range(5)]
    path = film(tmp_path / "film.mp4", sounds)
    for wanted, heard in ((None, 0), (3, 3)):
        source = source_of(path, tmp_path, track=wanted)
        samples = source.audio.samples[0]
        assert np.argmax(np.abs(np.fft.rfft(samples))) * 48_000 / len(samples) == pytest.approx(
            300 + 200 * heard, abs=10
        )
        assert (source.track, source.has_picture) == (heard, True)


def refused(path, folder, **keywords):
    with pytest.raises(BadInput) as caught:
        source_of(path, folder, **keywords)
    assert is_sentence(caught.value.message), caught.value.message
    return caught.value.code


def test_what_cannot_be_dubbed_is_refused_before_any_work(tmp_path):
    assert refused(film(tmp_path / "silent.mp4", []), tmp_path) == "no_sound_track"
    one = film(tmp_path / "film.mp4", [tone(1.0, rate=48_000)[None]])
    assert refused(one, tmp_path, track=1) == "no_such_track"
    old = video(tmp_path / "film.avi", sound=tone(1.0, rate=48_000)[None])
    assert refused(old, tmp_path, written_again=True) == "container_not_written"
    assert source_of(old, tmp_path).has_picture
    (tmp_path / "text.mp4").write_text("no film")
    assert refused(tmp_path / "text.mp4", tmp_path) == "not_a_recording"


def test_sound_of_three_channels_is_mixed_down_and_told(tmp_path):
    path = tmp_path / "three.wav"
    path.write_bytes(wav(pcm16(np.repeat(tone(1.0), 3)), channels=3))
    source = source_of(path, tmp_path)
    assert source.audio.channels == 1
    assert [flaw.code for flaw in source.flaws] == ["mixed_down"]
