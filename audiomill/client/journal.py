"""What `submit` has sent and ordered, kept on disk, so that a repeat after a crash orders nothing twice.

One file per installation, key, recipe and parameters; a line per step. The intent to order is written before the order
is sent: a repeat sends the very same order again, and the API answers it with the jobs of the first.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from audiomill.errors import Conflict


@dataclass(frozen=True)
class Intent:
    """An order: its key, and the files (by fingerprint) with their uploads, in its order."""

    key: str
    files: tuple[str, ...]
    uploads: tuple[str, ...]


@dataclass
class Journal:
    """Use as a context: it is locked against a second `submit` of the same kind."""

    path: Path
    uploads: dict[str, str] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    _descriptor: int = field(default=-1, init=False)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise Conflict("The same recipe is being submitted by another process. Wait for it to end.") from None
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def uploaded(self, file: str, upload_id: str) -> None:
        """A file was sent."""
        self._note({"file": file, "upload": upload_id})

    def forget_upload(self, file: str) -> None:
        """An upload that the API knows no more."""
        self._note({"file": file, "upload": None})

    def intend(self, files: Sequence[str]) -> Intent:
        """Write down an order of uploaded files that is about to be sent."""
        uploads = tuple(self.uploads[file] for file in files)
        # Upload ids are never given twice, so neither is this key.
        key = "cli-" + hashlib.sha256("\n".join(uploads).encode()).hexdigest()[:40]
        self._note({"intent": key, "files": list(files), "uploads": list(uploads)})
        return self.intents[key]

    def ordered(self, intent: Intent, job_ids: Sequence[str]) -> None:
        """The API took it."""
        self._note({"ordered": intent.key, "jobs": list(job_ids)})

    def refused(self, intent: Intent) -> None:
        """The API refused it for good: nothing was made."""
        self._note({"refused": intent.key})

    def _note(self, entry: dict[str, Any]) -> None:
        os.write(self._descriptor, (json.dumps(entry) + "\n").encode())
        os.fsync(self._descriptor)
        self._apply(entry)

    def _read(self) -> None:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            lines = file.read().split(b"\n")
        # After the last newline stands nothing, or what a crash left of a line.
        if lines.pop():
            os.write(self._descriptor, b"\n")
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # what a crash left of a line; what it said was not done yet
            self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        if "file" in entry:
            if entry["upload"] is None:
                self.uploads.pop(entry["file"], None)
            else:
                self.uploads[entry["file"]] = entry["upload"]
        elif "intent" in entry:
            self.intents[entry["intent"]] = Intent(entry["intent"], tuple(entry["files"]), tuple(entry["uploads"]))
        elif "ordered" in entry:
            intent = self.intents.pop(entry["ordered"])
            self.jobs.update(zip(intent.files, entry["jobs"], strict=True))
        elif "refused" in entry:
            self.intents.pop(entry["refused"], None)


def journal_path(data_dir: Path, *, base_url: str, key: str, recipe: str, parameters: dict[str, Any]) -> Path:
    """Where the journal of such submissions is."""
    # The API key stands for its workspace; only a hash of it is used.
    about = json.dumps([base_url, hashlib.sha256(key.encode()).hexdigest(), recipe, parameters], sort_keys=True)
    return data_dir / "submissions" / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.jsonl"


def fingerprint(path: Path) -> str:
    """A file as it is now: where, how large, when written."""
    stat = path.stat()
    return f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
