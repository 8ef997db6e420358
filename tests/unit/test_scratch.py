"""Scratch folders: a run's own, closed to others, gone with the run however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audiomill.audio import Audio, decode, mono
from audiomill.audio.spool import IN_MEMORY_BYTES
from audiomill.errors import StorageUnavailable
from audiomill.scratch import nameless_file, run_scratch, scratch_root, sweep
from audiomill.settings import LimitSettings
from tests.fakes.recordings import GOOD, wav


def holder(data_dir: Path) -> subprocess.Popen[bytes]:
    """A process that holds a run's folder with a customer's file in it."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom audiomill.scratch import run_scratch\n"
        f"with run_scratch(Path({str(data_dir)!r}), 'run-1') as folder:\n"
        "    (folder / 'input').write_bytes(b'sound')\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def test_a_folder_of_ones_own_gone_at_the_end(tmp_path):
    with run_scratch(tmp_path, "run-1") as folder:
        assert folder.parent == scratch_root(tmp_path)
        assert folder.name.startswith("run-1")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert scratch_root(tmp_path).stat().st_mode & 0o777 == 0o700
        (folder / "item").mkdir()
        assert sweep(tmp_path) == 0, "its owner lives"
        assert folder.is_dir()
    assert list(scratch_root(tmp_path).iterdir()) == []


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path):
    killed, living = holder(tmp_path), holder(tmp_path)
    assert len(list(scratch_root(tmp_path).iterdir())) == 2
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert sweep(tmp_path) == 1
    assert [(entry / "input").read_bytes() for entry in scratch_root(tmp_path).iterdir()] == [b"sound"]
    living.kill()
    living.wait()
    assert sweep(tmp_path) == 1
    assert list(scratch_root(tmp_path).iterdir()) == []


def test_nothing_to_sweep(tmp_path):
    assert sweep(tmp_path) == 0


def test_a_folder_that_cannot_be_made_is_the_machines_trouble(tmp_path):
    (tmp_path / "scratch").write_bytes(b"a file")
    with pytest.raises(StorageUnavailable), run_scratch(tmp_path, "run-1"):
        pass


def open_files_below(folder: Path) -> list[str]:
    descriptors = Path("/proc/self/fd")
    links = [str(entry.readlink()) for entry in descriptors.iterdir() if entry.exists() or entry.is_symlink()]
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [text for text in (*links, *maps) if str(folder) in text and "deleted" in text]


def test_sound_without_a_name_lies_there_too(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(GOOD))
    monkeypatch.setattr("audiomill.audio.spool.IN_MEMORY_BYTES", 1000)
    with run_scratch(tmp_path, "run-1") as folder:
        decoded = decode(path, limits=LimitSettings())
        assert open_files_below(folder), "decoded sound is mapped from there"
        averaged = mono(Audio(np.ones((2, 5000), np.float32), 16_000))
        with nameless_file() as file:
            assert str(folder) in str(Path(f"/proc/self/fd/{file.fileno()}").readlink())
        assert list(folder.iterdir()) == [], "but has no name"
    assert decoded.audio.seconds == 1.0
    assert averaged.samples.sum() == 5000
    assert IN_MEMORY_BYTES > 1000
