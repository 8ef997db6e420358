"""The list of guards: what stands in `*.toml` beside this file, read and put together. Nothing is run here."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Edit:
    """A piece of a guard: text that occurs once in a file, and what stands there without the guard."""

    file: str
    remove: str
    put: str

    def made(self, source: str) -> str:
        """The file's text without the guard. Raises ValueError when the text to remove is not there exactly once."""
        found = source.count(self.remove)
        if found != 1:
            raise ValueError(f"{self.file}: found {found} times, not once: {self.remove.strip()[:80]!r}")
        return source.replace(self.remove, self.put)


@dataclass(frozen=True)
class Guard:
    """A point that was mended, what mends it, and the tests of which at least one fails without it.

    seconds: the limit of each test; one that hangs fails.
    """

    listed_in: str
    point: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    seconds: int = 60

    def __str__(self) -> str:
        return f"{self.listed_in} {self.point}"


def guards() -> Iterator[Guard]:
    """All of them, in the order of the files."""
    for file in sorted(HERE.glob("*.toml")):
        yield from read(file.read_text(encoding="utf-8"), file.stem)


def read(text: str, listed_in: str) -> Iterator[Guard]:
    """The guards of one file of the list."""
    for entry in tomllib.loads(text)["guard"]:
        one = {name: entry.pop(name) for name in ("file", "remove", "put") if name in entry}
        edits = entry.pop("edits", []) or [one]
        yield Guard(
            listed_in=listed_in,
            point=entry.pop("point"),
            edits=tuple(Edit(**edit) for edit in edits),
            tests=tuple(entry.pop("tests")),
            **entry,
        )
