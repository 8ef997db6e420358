"""The data directory: which one is meant, which platform runs on it, and that nobody else reads it.

One rule for `make up`, `make demo` and every `audiomill` command, so that all speak of the same platform.
"""

import fcntl
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from audiomill.errors import ConfigurationError

_CHECKOUT = Path(__file__).resolve().parents[1]
_COMMAND = "`audiomill command`"
OURS = frozenset(
    {
        *("dagster", "demo", "keys", "logs", "models", "postgres", "run", "scratch", "sockets", "store", "submissions"),
        *("postgres.lock", "stopping", "supervisord.conf", "supervisord.pid", "up.json", "up.lock"),
    }
)
"""What a platform keeps here. Whatever else lies there is somebody's own: it is neither closed nor deleted."""


@dataclass(frozen=True)
class RunningPlatform:
    """A platform that runs on a data directory, and its addresses."""

    pid: int
    api_url: str
    dagster_url: str


def default_data_dir() -> Path:
    """Of the checkout's `.audiomill` (where audiomill runs from one) and ~/.audiomill the one on which a platform runs.

    Else the one that was used, else the first. AUDIOMILL_DATA_DIR and --data-dir go before it.
    """
    candidates = [Path.home() / ".audiomill"]
    if (_CHECKOUT / "Makefile").is_file() and (_CHECKOUT / "pyproject.toml").is_file():
        candidates.insert(0, _CHECKOUT / ".audiomill")
    for wanted in (running_platform, is_used):
        for each in candidates:
            if wanted(each):
                return each
    return candidates[0]


def is_used(data_dir: Path) -> bool:
    """Whether a platform was here: its database or its keys are."""
    return (data_dir / "postgres").exists() or (data_dir / "keys").exists()


def running_platform(data_dir: Path) -> RunningPlatform | None:
    """The platform that runs here now. A file left by one that was killed does not count."""
    try:
        said = json.loads((data_dir / "up.json").read_text())
        found = RunningPlatform(int(said["pid"]), str(said["api"]), str(said["dagster"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _held(data_dir / "up.lock") else None


def _held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: others who look do not see each other. `StartLock` waits for such looks to pass.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _COMMAND not in os.pread(descriptor, 200, 0).decode(errors="replace")
    else:
        return False
    finally:
        os.close(descriptor)


def make_private(data_dir: Path, *, passable: bool = False) -> None:
    """Make the directory where it is absent, and close it and what lies in it to others.

    `passable`: others may pass through, not list. The embedded PostgreSQL needs it where it runs as another user. What
    is ours directly in it is closed too, so that nothing deeper can be reached, whatever its own mode is.
    Raises ConfigurationError for a folder in which others write, as /tmp: closing it would take it from them.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if data_dir.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX):
        raise ConfigurationError(
            f"{data_dir} is a folder of many users. Give audiomill one of its own, as {data_dir / 'audiomill'}."
        )
    data_dir.chmod(0o711 if passable else 0o700)
    for each in data_dir.iterdir():
        found = each.lstat()
        if each.name not in OURS or found.st_uid != os.geteuid():
            continue
        if stat.S_ISDIR(found.st_mode):
            each.chmod(0o700)
        elif stat.S_ISREG(found.st_mode):
            each.chmod(0o600)
