"""`submit` and Ctrl-C: it ends at once and says what goes on; what is complete is fetched as it comes."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer

from audiomill.cli import submit
from audiomill.client.submitting import Ordered, in_threads

WAITING = """
import sys, threading
from audiomill.client.submitting import in_threads
def work(_):
    print("working", flush=True)
    threading.Event().wait()
in_threads(work, range(9), 3)
"""


def test_an_interrupt_is_not_held_up_by_what_goes_on():
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) != 0
        finally:
            process.kill()


def test_all_is_done_and_the_first_error_is_raised():
    done: list[int] = []
    in_threads(done.append, range(20), 4)
    assert sorted(done) == list(range(20))
    in_threads(done.append, [], 4)

    def fail(number: int) -> None:
        if number == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        in_threads(fail, range(20), 4)


class Client:
    """Two jobs: the second ends only when what the first made is on disk, or never."""

    def __init__(self, wait_for: Path | None) -> None:
        self.wait_for = wait_for

    def follow(self, job_id, on_event):
        if job_id == "job_2":
            if self.wait_for is None:
                # As if Ctrl-C was pressed while it is followed.
                raise KeyboardInterrupt
            for _ in range(3000):
                if self.wait_for.exists():
                    break
                threading.Event().wait(0.01)
            else:
                raise AssertionError("what was complete is not there while another job goes on")
        return "complete"

    def job(self, job_id):
        return {"id": job_id, "state": "complete", "failure_reason": None, "outputs": [{"name": "speech.wav"}]}

    def download(self, job_id, name, target):
        target.write_bytes(b"sound")


ORDERED = [
    Ordered(Path("a.txt"), "job_1"),
    Ordered(Path("b.txt"), "job_2"),
    Ordered(Path("c.txt"), None, "It is empty."),
]


def test_what_is_complete_is_fetched_as_it_comes(tmp_path):
    first = tmp_path / "a.txt" / "speech.wav"
    assert submit._finish(Client(first), ORDERED[:2], tmp_path) is False
    assert first.exists()


def test_stopped_says_what_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("audiomill.client.submitting.FOLLOW_THREADS", 1)
    with pytest.raises(typer.Exit) as ended:
        submit._finish(Client(None), ORDERED, tmp_path)
    assert ended.value.exit_code == 130
    captured = capsys.readouterr()
    assert "1 of 2 jobs go on" in " ".join(captured.err.split())
    assert "goes on" in captured.out
    assert "refused" in captured.out
    assert (tmp_path / "a.txt" / "speech.wav").exists()
