"""What HTTP says of an object: its media type by name, the name it is saved under. No transport."""

import unicodedata
from urllib.parse import quote

# What we deliver and accept. Not the `mimetypes` module: it reads the machine's own files, so answers would differ.
_MEDIA_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip",
    "vtt": "text/vtt; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "json": "application/json",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "png": "image/png",
    "parquet": "application/vnd.apache.parquet",
}


def media_type_of(name: str) -> str:
    """Media type by the ending of a key or file name; `application/octet-stream` where it is not one of ours."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


def content_disposition(filename: str) -> str:
    """`attachment` with the name in UTF-8 (RFC 6266, RFC 5987) and in ASCII for old clients.

    Control characters, quotes and path separators cannot leave the header: they are percent-encoded or replaced.
    """
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = "".join("_" if char in '"\\/%' or ord(char) < 32 or ord(char) == 127 else char for char in plain)  # noqa: PLR2004 - ASCII controls
    return f"attachment; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"
