"""Processes of runs, real ones: what is proven of one that is gone, and how one that does not go is ended."""

import faulthandler
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from audiomill.jobs.batches.workers import (
    CallNotes,
    Fate,
    RunProcess,
    end,
    fate_of,
    forget,
    left_notes,
    this_machine,
    this_worker,
)
from audiomill.settings import Settings

AT_WORK = """
import signal, sys, time
from pathlib import Path
from audiomill.jobs.batches.workers import CallNotes, this_worker
from audiomill.settings import Settings
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests were started by nohup
notes = CallNotes(Settings(data_dir=Path(sys.argv[1])), "run")
notes.open()
notes.inside(["item-1", "item-2"])
notes.inside(["item-2"])
print(this_worker(), flush=True)
sys.stdin.readline()
notes.close()
print("closed", flush=True)
time.sleep(60)
"""


WITH_A_CHILD = """
import subprocess, sys, time
from audiomill.jobs.batches.workers import end_this_process, this_worker
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, this_worker(), flush=True)
sys.stdin.readline()
end_this_process()
"""


@contextmanager
def with_a_child() -> Iterator[tuple[subprocess.Popen[str], psutil.Process, RunProcess]]:
    """A process that has started another, and ends itself when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, _, worker = process.stdout.readline().partition(" ")
    child, known = psutil.Process(int(pid)), RunProcess.parse(worker)
    assert known is not None
    try:
        yield process, child, known
    finally:
        # The child first: it holds the other end of the pipe.
        if child.is_running():
            child.kill()
        process.kill()
        process.communicate()


@contextmanager
def at_work(folder: Path, *how: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is inside a call with item-2; and who it says that it is."""
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(folder), *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


BY_ITS_INPUT = [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE]
BY_ITS_MACHINE = [signal.SIGBUS, signal.SIGILL]


@pytest.mark.parametrize("sent", BY_ITS_INPUT)
def test_a_process_that_crashed_inside_a_call_is_proof(config: Settings, sent: signal.Signals) -> None:
    with at_work(config.data_dir) as (process, worker):
        assert fate_of(config, "run", worker) == Fate()
        process.send_signal(sent)
        # Nobody has waited for it yet: a zombie is gone.
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert fate_of(config, "run", worker) == Fate(died=True, inside=frozenset({"item-2"}))
        assert left_notes(config) == ["run"]
        forget(config, "run")
        assert fate_of(config, "run", worker) == Fate()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, *BY_ITS_MACHINE])
def test_a_process_that_was_killed_inside_a_call_proves_nothing(config: Settings, sent: signal.Signals) -> None:
    """By an operator, a deploy, or the kernel, which takes the largest when a neighbour wants more memory; or by a disk
    that does not give a page of a file, or code that was built for another CPU."""
    with at_work(config.data_dir) as (process, worker):
        process.send_signal(sent)
        process.wait(10)
        assert fate_of(config, "run", worker) == Fate(died=True)
        assert left_notes(config) == ["run"]


def test_who_told_of_crashes_before_does_so_again(config: Settings) -> None:
    before = faulthandler.is_enabled()
    notes = CallNotes(config, "run")
    notes.open()
    assert faulthandler.is_enabled()
    notes.close()
    assert faulthandler.is_enabled() == before


def test_a_process_that_ended_in_good_order_is_none(config: Settings) -> None:
    with at_work(config.data_dir) as (process, worker):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == "closed"
        process.kill()
        process.wait()
        assert fate_of(config, "run", worker) == Fate()
        assert left_notes(config) == []


def test_a_machine_that_went_down_and_another_process_prove_nothing(config: Settings) -> None:
    with at_work(config.data_dir) as (process, worker):
        process.kill()
        process.wait()
        gone = RunProcess.parse(worker)
        assert gone is not None
        for other in (
            RunProcess("another/12345678", gone.pid, gone.started),
            RunProcess(gone.machine, gone.pid, gone.started - 100),
        ):
            assert fate_of(config, "run", str(other)) == Fate()
        assert fate_of(config, "run", None) == Fate()
    note = config.data_dir / "run" / "calls" / "run"
    note.write_text(note.read_text().replace(this_machine(), f"{this_machine()[:-1]}?"))
    assert fate_of(config, "run", worker.replace(this_machine(), f"{this_machine()[:-1]}?")) == Fate()


def test_a_stopped_process_is_not_dead_and_is_ended(config: Settings) -> None:
    with at_work(config.data_dir) as (process, worker):
        process.send_signal(signal.SIGSTOP)
        stopped(process.pid)
        assert fate_of(config, "run", worker) == Fate()
        known = RunProcess.parse(worker)
        assert known is not None
        assert end([known], grace_seconds=0.2) == 1
        assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(("how", "ended_by"), [((), signal.SIGTERM), (("stubborn",), signal.SIGKILL)])
def test_a_process_is_asked_then_killed(config: Settings, how: tuple[str, ...], ended_by: signal.Signals) -> None:
    with at_work(config.data_dir, *how) as (process, worker):
        known = RunProcess.parse(worker)
        assert known is not None
        end([known], grace_seconds=1)
        assert process.wait(10) == -ended_by


def stopped(pid: int) -> None:
    """Wait for it: a signal that comes before the process stops is still acted upon."""
    deadline = time.monotonic() + 20
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline, "it does not stop"
        time.sleep(0.01)


def gone(process: psutil.Process) -> bool:
    """Within some seconds; one that nobody waits for is gone too."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_who_ends_itself_ends_its_children() -> None:
    with with_a_child() as (process, child, _):
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(20) == 70
        assert gone(child)


def test_children_of_one_that_is_ended_go_with_it() -> None:
    """They compute for nobody, and hold cores."""
    with with_a_child() as (process, child, known):
        assert end([known], grace_seconds=5) == 1
        process.wait(20)
        assert gone(child)


def test_another_process_of_the_same_number_is_left_alone(config: Settings) -> None:
    with at_work(config.data_dir) as (process, worker):
        known = RunProcess.parse(worker)
        assert known is not None
        assert end([RunProcess(known.machine, known.pid, known.started - 60)], grace_seconds=0) == 0
        assert end([RunProcess("another", known.pid, known.started)], grace_seconds=0) == 0
        time.sleep(0.1)
        assert process.poll() is None


def test_who_one_is_survives_writing_down(config: Settings) -> None:
    me = this_worker()
    assert me.here
    again = RunProcess.parse(str(me))
    assert again is not None
    assert again.process() is not None
    assert RunProcess.parse("nonsense") is None
    assert RunProcess.parse("a b c") is None
    assert RunProcess.parse(None) is None


def test_a_note_of_many_is_followed_by_one_of_few(config: Settings) -> None:
    notes = CallNotes(config, "run")
    notes.open()
    notes.inside([f"item-{number}" for number in range(500)])
    notes.inside(["item"])
    text = (config.data_dir / "run" / "calls" / "run").read_text()
    assert '"inside": ["item"]' in text
    assert text.rstrip().endswith("}")
    notes.close()


def test_notes_that_two_threads_close_are_closed_once(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = CallNotes(config, "run")
    notes.open()
    other = threading.Thread(target=notes.close)

    def while_another_closes() -> None:
        monkeypatch.undo()
        other.start()
        other.join(0.5)

    monkeypatch.setattr(faulthandler, "disable", while_another_closes)
    notes.close()
    other.join()
    notes.inside(["item"])
    assert left_notes(config) == []


def test_a_clock_that_is_set_makes_no_living_process_dead(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(config.data_dir) as (_, worker):
        boot, create = psutil.boot_time(), psutil.Process.create_time
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: create(process) + 3600)
        assert fate_of(config, "run", worker) == Fate()
        assert left_notes(config) == []
