"""Files made to take memory, time or disk: each ends with a sentence, or gives its sound, and costs little."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from audiomill.audio import decode, probe
from audiomill.audio.decoder_process import DecoderProcess
from audiomill.audio.decoders import Decoders
from audiomill.errors import BadInput, LimitExceeded, OperatorError
from audiomill.settings import LimitSettings
from tests.fakes import hostile
from tests.fakes.recordings import GOOD, encoded, pcm16, tone, wav
from tests.unit.test_audio_broken import is_sentence

LIMITS = LimitSettings()
DECODE = import_module("audiomill.audio.decode")  # `audiomill.audio.decode` is the function
COVER = (16_000, 16_000)  # 768 MB when it is decoded
FITTING_COVER = (8_000, 6_000)  # 144 MB
MEMORY_BYTES = 500 * 1024**2


@pytest.fixture
def pool(monkeypatch):
    """A pool of one process, asked by `decode`, so that it is known which one works."""
    pool = Decoders(1)
    monkeypatch.setattr(DECODE, "decoders", lambda: pool)
    yield pool
    pool.close()


def file(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def for_an_engine(path, limits=LIMITS):
    return decode(path, sample_rate_hz=16_000, mono=True, limits=limits)


def most_memory(pool) -> int:
    """The largest that a living process of the pool ever was, in bytes."""
    status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in pool.pids())
    return max(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


REFUSED = {
    "a table of 80 million samples": (
        hostile.m4a_of_samples_that_are_not_there,
        "needs_too_much_memory",
    ),
    "four such tables": (
        lambda folder: hostile.m4a_of_samples_that_are_not_there(folder, tracks=4),
        "needs_too_much_memory",
    ),
    "a million empty chunks": (lambda folder: hostile.wav_of_empty_chunks(1_000_000), "too_many_chunks"),
    "hours in 7 kB": (lambda folder: hostile.flac_of_silence(35_000), "implausible_length"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_take_gigabytes_is_refused_with_a_sentence(name, tmp_path, pool):
    make, code = REFUSED[name]
    path = file(tmp_path, "hostile", make(tmp_path))
    with pytest.raises(BadInput) as caught:
        for_an_engine(path)
    assert caught.value.code == code
    assert is_sentence(caught.value.message), caught.value.message
    assert most_memory(pool) < MEMORY_BYTES
    assert for_an_engine(file(tmp_path, "good.wav", wav(GOOD))).audio.seconds == 1.0


@pytest.mark.parametrize("size", [COVER, FITTING_COVER], ids=["too large", "fitting"])
@pytest.mark.parametrize("name", ["flac", "mkv"])
def test_a_cover_is_never_decoded(name, size, tmp_path, pool):
    """One that fits into the memory that a process may take neither: it would be taken all the same."""
    cover = hostile.png(*size)
    data = hostile.flac_with_cover(tmp_path, cover) if name == "flac" else hostile.mkv_with_covers(cover, 5)
    path = file(tmp_path, "covered", data)
    assert for_an_engine(path).audio.seconds == pytest.approx(1.0)
    assert not probe(path, limits=LIMITS).has_video
    assert most_memory(pool) < 100 * 1024**2


def test_one_track_is_decoded_and_no_other(tmp_path, pool):
    """Four of them were decoded once: four times the time, and the memory of all."""
    path = tmp_path / "tracks.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("flac", rate=16_000) for _ in range(4)]
        for stream in streams:
            stream.layout = "mono"
        for index, stream in enumerate(streams):
            sound = (tone(1.0, hz=300 + 100 * index)[None] * 32_000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            out.mux([*stream.encode(frame), *stream.encode(None)])
    audio = for_an_engine(path).audio
    assert audio.seconds == 1.0
    np.testing.assert_allclose(audio.samples[0], tone(1.0, hz=300), atol=0.05)


def test_a_long_recording_of_silence_is_a_recording(tmp_path):
    silence = encoded(tmp_path / "night.flac", "flac", tone(900.0, amplitude=0)[None], rate=16_000)
    assert for_an_engine(silence).audio.seconds == 900


def test_what_a_process_wrote_is_bounded(tmp_path):
    path = file(tmp_path, "many.wav", wav(pcm16(tone(10.0)), channels=8))
    with pytest.raises(LimitExceeded) as caught:
        decode(path, limits=LimitSettings(max_seconds=1.5))
    assert caught.value.code == "recording_too_large"


class TestTheProcess:
    def test_it_holds_nothing_of_ours(self, tmp_path, pool, monkeypatch):
        monkeypatch.setenv("AUDIOMILL_SECRET", "a secret")
        for_an_engine(file(tmp_path, "good.wav", wav(GOOD)))
        [process] = (psutil.Process(pid) for pid in pool.pids())
        assert not [name for name in process.environ() if "AUDIOMILL" in name or "PATH" in name]
        assert process.cwd() == "/"
        assert process.open_files() == []
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        for library in ("psycopg", "pydantic_core", "cryptography", "libssl"):
            assert library not in maps, library

    def test_the_next_file_is_read_by_the_same_one(self, tmp_path, pool):
        """A start takes as long as ten files."""
        good = file(tmp_path, "good.wav", wav(GOOD))
        seen = set()
        for _ in range(3):
            for_an_engine(good)
            seen |= set(pool.pids())
        assert len(seen) == 1

    def test_it_may_open_nothing_and_start_nothing(self, tmp_path):
        """Done in a process that has confined itself as the decoding ones do."""
        secret = file(tmp_path, "key.pem", b"secret")
        program = (
            "import os, socket, subprocess, sys\n"
            "from audiomill.decoding.confinement import confine\n"
            "assert confine()\n"
            "def refused(what):\n"
            "    try:\n        what()\n    except PermissionError:\n        return True\n"
            f"assert refused(lambda: open({str(secret)!r}))\n"
            f"assert refused(lambda: os.unlink({str(secret)!r}))\n"
            "assert refused(lambda: socket.socket())\n"
            "assert refused(lambda: socket.socket(socket.AF_UNIX))\n"
            "assert refused(lambda: os.execv('/bin/sh', ['sh']))\n"
            "assert refused(os.fork)\n"
            f"assert refused(lambda: os.kill({os.getpid()}, 0))\n"
            "os.write(1, b'all refused')\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert (done.stdout, done.returncode) == (b"all refused", 0), done.stderr.decode()

    def test_it_dies_with_the_one_who_started_it(self, tmp_path):
        """Also one that cannot look whether anybody is there: stopped here, at work on a large file otherwise."""
        program = (
            "import os, signal\n"
            "from audiomill.audio.decoders import decoders\n"
            "pool = decoders()\n"
            "pool._idle.append(pool._taken(fresh=True))\n"
            "print(pool.pids()[0], flush=True)\n"
            "os.kill(pool.pids()[0], signal.SIGSTOP)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        pid = int(done.stdout)
        for _ in range(100):
            if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        raise AssertionError("it lives on")

    def test_one_that_was_stopped_is_ended_and_the_file_is_read_by_another(self, tmp_path, pool, monkeypatch):
        good = file(tmp_path, "good.wav", wav(GOOD))
        for_an_engine(good)
        monkeypatch.setattr(DECODE, "_WALL_SECONDS", 5.0)
        monkeypatch.setattr(DECODE, "_WALL_FACTOR", 0.0)
        [stuck] = pool.pids()
        os.kill(stuck, signal.SIGSTOP)
        assert for_an_engine(good).audio.seconds == 1.0
        assert not psutil.pid_exists(stuck)

    def test_its_time_is_limited(self, tmp_path, pool, monkeypatch):
        monkeypatch.setattr(DECODE, "_LEAST_CPU_SECONDS", 0.0)
        monkeypatch.setattr(DECODE, "_CPU_SECONDS_PER_SECOND", 0.0)
        monkeypatch.setattr(DECODE, "_CPU_SECONDS_PER_MEGABYTE", 0.0)
        monkeypatch.setattr(DECODE, "_WALL_SECONDS", 250.0)
        length = 4 * 48_000 * 7200
        long = file(tmp_path, "long.wav", wav(b"", rate=48_000, channels=2, says_bytes=length))
        os.truncate(long, 44 + length)  # two hours, on the disk a hole
        with pytest.raises(BadInput) as caught:
            for_an_engine(long)
        assert caught.value.code == "decoding_takes_too_long"


class TestBlame:
    def test_a_process_that_dies_between_files_costs_no_file(self, tmp_path, pool):
        good = file(tmp_path, "good.wav", wav(GOOD))
        for signal_number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
            for_an_engine(good)
            [pid] = pool.pids()
            os.kill(pid, signal_number)
            assert for_an_engine(good).audio.seconds == 1.0
            assert pool.pids() != [pid]

    def test_a_file_that_kills_every_process_is_refused_and_its_neighbours_are_not(self, tmp_path, monkeypatch):
        pool = Decoders(3)
        monkeypatch.setattr(DECODE, "decoders", lambda: pool)
        good, bad = file(tmp_path, "good.wav", wav(GOOD)), file(tmp_path, "bad.wav", wav(GOOD))
        inode, ask = bad.stat().st_ino, DecoderProcess.ask

        def breaking(process, request, descriptors, *, wall_seconds):
            if os.fstat(descriptors[0]).st_ino == inode:
                os.kill(process.pid, signal.SIGSEGV)
            return ask(process, request, descriptors, wall_seconds=wall_seconds)

        monkeypatch.setattr(DecoderProcess, "ask", breaking)
        with ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(for_an_engine, path) for path in [good, good, bad, good, good, bad, good]]
        errors = [future.exception() for future in futures]
        assert [error is None for error in errors] == [True, True, False, True, True, False, True]
        assert {error.code for error in errors if error is not None} == {"decoder_crashed"}
        assert all(is_sentence(str(error)) for error in errors if error is not None)
        pool.close()

    @pytest.mark.timeout(60)
    def test_a_machine_on_which_nothing_advances_blames_nobody(self, tmp_path, pool, monkeypatch):
        """Stopped and continued, a disk that hangs, far too many runs: time passed, and the process used none of it."""
        ask = DecoderProcess.ask

        def stopped(process, request, descriptors, *, wall_seconds):
            os.kill(process.pid, signal.SIGSTOP)
            return ask(process, request, descriptors, wall_seconds=0.2)

        monkeypatch.setattr(DecoderProcess, "ask", stopped)
        with pytest.raises(OperatorError) as caught:
            for_an_engine(file(tmp_path, "good.wav", wav(GOOD)))
        assert caught.value.code == "decoder_ended"

    def test_a_limit_that_the_machine_refuses_blames_nobody(self, tmp_path, pool, monkeypatch):
        monkeypatch.setattr(DECODE, "_LEAST_CPU_SECONDS", 1e30)  # as below a hard limit of the container's
        monkeypatch.setattr(DECODE, "_WALL_FACTOR", 0.0)
        with pytest.raises(OperatorError) as caught:
            for_an_engine(file(tmp_path, "good.wav", wav(GOOD)))
        assert caught.value.code == "decoder_ended"

    def test_ended_from_outside_each_time_blames_nobody(self, tmp_path, pool, monkeypatch):
        ask = DecoderProcess.ask

        def killed(process, request, descriptors, *, wall_seconds):
            os.kill(process.pid, signal.SIGKILL)
            return ask(process, request, descriptors, wall_seconds=wall_seconds)

        monkeypatch.setattr(DecoderProcess, "ask", killed)
        with pytest.raises(OperatorError) as caught:
            for_an_engine(file(tmp_path, "good.wav", wav(GOOD)))
        assert not isinstance(caught.value, BadInput)
        assert caught.value.code == "decoder_ended"

    @pytest.mark.parametrize(
        "answer",
        [{}, {"result": {}}, {"result": None}, {"broken": "KeyError"}, {"machine": "?"}, {"refused": {"kind": "exit"}}],
    )
    def test_nonsense_from_a_process_is_an_error_of_ours_or_a_refusal(self, answer, tmp_path, pool, monkeypatch):
        monkeypatch.setattr(DecoderProcess, "ask", lambda *_, **__: answer)
        with pytest.raises((OperatorError, BadInput)):
            for_an_engine(file(tmp_path, "good.wav", wav(GOOD)))

    def test_a_length_that_is_not_there_is_not_mapped(self, tmp_path, pool, monkeypatch):
        said = {"samples": 10**9, "channels": 1, "sample_rate_hz": 16_000, "source_sample_rate_hz": 1}
        answer = {"result": {**said, "source_channels": 1, "flaws": []}}
        monkeypatch.setattr(DecoderProcess, "ask", lambda *_, **__: answer)
        with pytest.raises(OperatorError):
            for_an_engine(file(tmp_path, "good.wav", wav(GOOD)))
