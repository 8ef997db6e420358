"""Receiving an object into a file: counted, hashed, bounded, and gone again when it fails. Knows no store."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from audiomill.errors import LimitExceeded


class Receiver:
    """A file that takes bytes in order, up to a limit. When its block raises, the file is removed."""

    def __init__(self, path: Path, max_bytes: int | None) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        if error is not None:
            self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of what was written."""
        return self._digest.hexdigest()

    def expect(self, size_bytes: int) -> None:
        """Raises LimitExceeded before anything is read when the announced size is too large."""
        if self._max_bytes is not None and size_bytes > self._max_bytes:
            raise LimitExceeded(
                f"The file is larger than {self._max_bytes:,} bytes, which is the limit here. "
                "Send a smaller one, or several parts.",
                code="too_large",
            )

    def write(self, chunk: bytes) -> int:
        """Add bytes. Counted against the limit too: an object may grow, or be replaced, after its size was asked."""
        self._size += len(chunk)
        self.expect(self._size)
        self._digest.update(chunk)
        return self._file.write(chunk)
