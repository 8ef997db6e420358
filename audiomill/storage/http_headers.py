"""What HTTP says of an object: the name it is saved under. Its media type is in audiomill/formats.py. No transport."""

import unicodedata
from urllib.parse import quote


def content_disposition(filename: str) -> str:
    """`attachment` with the name in UTF-8 (RFC 6266, RFC 5987) and in ASCII for old clients.

    Control characters, quotes and path separators cannot leave the header: they are percent-encoded or replaced.
    """
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = "".join("_" if char in '"\\/%' or ord(char) < 32 or ord(char) == 127 else char for char in plain)  # noqa: PLR2004 - ASCII controls
    return f"attachment; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"
