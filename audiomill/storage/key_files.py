"""Secret files of this installation, made once and whole, whoever asks first. Nothing about what they are used for."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from audiomill.errors import ConfigurationError


def made_once(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of a file with mode 0600, made by the first of any number of processes that ask at the same time.

    The bytes are written to a file of their own first and then linked to the name: a link fails where the name
    exists, so the first wins, and nobody reads half a key (as between an exclusive open and its write).
    Raises ConfigurationError when the file can be neither read nor made, or is empty.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _publish(path, make())
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The key file {path} can be neither read nor made: {error.strerror}.") from error
    if not content.strip():
        raise ConfigurationError(
            f"The key file {path} is empty: put the key back, or remove the file to make a new one."
        )
    return content


def _publish(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first: its key is the key
    finally:
        draft.unlink()
