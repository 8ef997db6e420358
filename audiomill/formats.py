"""The files that we deliver and accept: endings, media types, the receipt's suffix, how sizes read; each said once.

How a file of a format is written is the part of audiomill.transcripts and audiomill.audio.
"""

RECEIPT_SUFFIX = ".receipt.json"
"""The receipt of `speech.wav` is `speech.wav.receipt.json` beside it."""

UNKNOWN = "application/octet-stream"

# Not the `mimetypes` module: it reads the machine's own files, so answers would differ.
MEDIA_TYPES: dict[str, str] = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",  # not registered; what players and browsers know it by
    "vtt": "text/vtt; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "json": "application/json",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/matroska",
    "webm": "video/webm",
    "png": "image/png",
    "parquet": "application/vnd.apache.parquet",
}
"""By ending, without its dot."""


def media_type_of(name: str) -> str:
    """Media type by the ending of a key or file name; `application/octet-stream` where it is not one of ours."""
    return MEDIA_TYPES.get(name.rpartition(".")[2].lower(), UNKNOWN)


def is_receipt(name: str) -> bool:
    """Whether that is the name of a receipt, and not of the file that it speaks of."""
    return name.endswith(RECEIPT_SUFFIX)


def size_shown(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1e9:,.1f} GB" if abs(size_bytes) >= 1e8 else f"{size_bytes:,} bytes"  # noqa: PLR2004 - 0.1 GB


def sizes_shown(size_bytes: int, other_bytes: int) -> tuple[str, str]:
    """Two sizes that are compared: to the byte where both would read alike."""
    shown = size_shown(size_bytes), size_shown(other_bytes)
    return (f"{size_bytes:,} bytes", f"{other_bytes:,} bytes") if shown[0] == shown[1] else shown
