"""Where a platform's Unix sockets are: supervisor's and the code server's. Nothing listens or connects here.

Both are doors: through supervisor's programs are started and stopped, through the code server's any command is run as
the platform's user. So they lie in a folder that nobody else may enter; a socket's own mode is not honoured everywhere.
"""

import os
import re
import stat
import tempfile
from hashlib import sha256
from pathlib import Path

from audiomill.errors import ConfigurationError

_PATH_BYTES = 100
"""A Unix socket's path may have 107 bytes; supervisor adds a suffix while it binds."""
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""gRPC reads the path as a part of a URI: other characters would have to be escaped, by two programs alike."""
_LONGEST_NAME = "code-server.sock"


def supervisor_socket(data_dir: Path) -> Path:
    """Supervisor's control socket."""
    return socket_folder(data_dir) / "supervisor.sock"


def code_server_socket(data_dir: Path) -> Path:
    """The code server's gRPC socket."""
    return socket_folder(data_dir) / _LONGEST_NAME


def socket_folder(data_dir: Path) -> Path:
    """`sockets` in the data directory or, where that path is unfit for a socket, a folder in /tmp. Made if absent.

    Raises ConfigurationError when the folder in /tmp is not ours alone: its name can be guessed by others.
    """
    inside = data_dir.resolve() / "sockets"
    path = str(inside / _LONGEST_NAME)
    if len(os.fsencode(path)) <= _PATH_BYTES and _PLAIN.fullmatch(path):
        if data_dir.is_dir():
            inside.mkdir(mode=0o700, exist_ok=True)
            inside.chmod(0o700)
        return inside
    fingerprint = sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"audiomill-{os.getuid()}-{fingerprint}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(
            f"{folder} is not a folder of yours alone. Remove it, or use a data directory with a shorter path."
        )
    return folder
