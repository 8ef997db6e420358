"""What a model is known by: one SHA-256 over the names and hashes of its files. Nothing of where models lie."""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def files_sha256(files: Mapping[str, str]) -> str:
    """Of files by relative name and hash: equal for equal files, wherever they lie."""
    return sha256("".join(f"{name}\0{files[name]}\n" for name in sorted(files)).encode()).hexdigest()


@lru_cache(maxsize=8)
def folder_sha256(folder: Path) -> str:
    """Of a folder that does not change while this process lives: a model that came inside a package."""
    return files_sha256(
        {str(path.relative_to(folder)): file_sha256(path) for path in folder.rglob("*") if path.is_file()}
    )
