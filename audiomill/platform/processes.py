"""Processes of a platform seen from outside: free and taken ports, leftovers of an earlier start, the start lock."""

import fcntl
import os
import socket
import time
from pathlib import Path

import psutil

from audiomill.errors import ConfigurationError
from audiomill.platform.supervision import MARK

TERM_SECONDS = 10
_LOOKS = 10


class StartLock:
    """One platform per data directory. The kernel frees it when the holder dies."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "up.lock"
        self._descriptor: int | None = None

    def acquire(self, purpose: str) -> None:
        """Raises ConfigurationError that names the holder."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(descriptor):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise ConfigurationError(
                f"{self._path.parent} is in use by {holder}. Stop it first, or give another AUDIOMILL_DATA_DIR.",
                code="already_running",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"`audiomill {purpose}` (process {os.getpid()})".encode(), 0)
        self._descriptor = descriptor

    def held_by_platform(self) -> bool:
        """Whether a platform, not a short command, holds it now or held it last."""
        return "`audiomill command`" not in self._path.read_text(errors="replace")

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let the next one in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int) -> bool:
    """Whether it is ours now. Whoever only looks (audiomill/data_dir.py) holds it for a moment: that is waited for."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def require_free_port(host: str, port: int, what: str, setting: str) -> None:
    """Raises ConfigurationError when something listens there already.

    Asked before anything starts: two gRPC servers can share a port without an error, and half the calls then reach
    the stale one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of an earlier server that linger (TIME_WAIT) do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"{what} cannot listen on {host}:{port} ({error.strerror}). Stop what is there, or set {setting}.",
                code="port_taken",
            ) from error


def free_ports(count: int) -> list[int]:
    """Ports that are free on loopback now."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def platform_processes(data_dir: Path) -> list[psutil.Process]:
    """Living processes that a platform of this data directory started, PostgreSQL's own excepted."""
    found = []
    for process in psutil.process_iter(["name", "status"]):
        if process.info["name"] == "postgres" or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(data_dir.resolve()):
                found.append(process)
        except psutil.Error:
            # Of another user, or just gone: not ours.
            continue
    return found


def end_leftovers(data_dir: Path) -> int:
    """End what a killed platform left behind. The caller holds the start lock. Returns how many there were."""
    leftovers = platform_processes(data_dir)
    for process in leftovers:
        _signal(process, "terminate")
    psutil.wait_procs(leftovers, timeout=TERM_SECONDS)
    # Looked for anew: one that was ending may have started another.
    remaining = platform_processes(data_dir)
    for process in remaining:
        _signal(process, "kill")
    psutil.wait_procs(remaining, timeout=TERM_SECONDS)
    return len(leftovers)


def _signal(process: psutil.Process, how: str) -> None:
    try:
        getattr(process, how)()
    except psutil.NoSuchProcess:
        return
