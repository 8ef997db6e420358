"""Tokens in the local store's signed URLs: what they grant, sealing and opening them. No files, no HTTP."""

import hashlib
import time
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer

from audiomill.errors import Unauthorized


@dataclass(frozen=True)
class Grant:
    """What one signed URL allows: one method on one object until it expires.

    size_bytes and media_type: of a PUT as announced; a GET carries the media type to answer with and no size.
    filename: what a browser saves a GET as, None to show it in place.
    """

    method: str
    key: str
    seconds: int
    size_bytes: int | None = None
    media_type: str | None = None
    filename: str | None = None


class Grants:
    """Seals grants into URL-safe tokens with HMAC-SHA256 and opens them again."""

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeTimedSerializer(
            secret,
            salt="audiomill.object-url",  # a token of another purpose under the same secret is worth nothing here
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def seal(self, grant: Grant) -> str:
        """A token. Raises ValueError for a life of no time."""
        if grant.seconds < 1:
            raise ValueError(f"a signed URL lives at least a second, not {grant.seconds}")
        payload = [grant.method, grant.key, grant.seconds, grant.size_bytes, grant.media_type, grant.filename]
        return str(self._serializer.dumps(payload))

    def open(self, token: str, method: str) -> Grant:
        """The grant of a token for this method. Raises Unauthorized: `url_invalid`, or `url_expired`."""
        try:
            payload, made_at = self._serializer.loads(token, return_timestamp=True)
            grant = Grant(*payload)  # signed by us, so the types are ours; the shape may be of another release
        except (BadData, TypeError, ValueError) as error:
            raise Unauthorized(
                "This link is not one of ours, or it was changed. Ask for a new one.", code="url_invalid"
            ) from error
        # The life is inside the token, under the signature; itsdangerous would want it from the caller.
        if time.time() >= made_at.timestamp() + grant.seconds:
            raise Unauthorized("This link has expired. Ask for a new one.", code="url_expired")
        if grant.method != method:
            raise Unauthorized(
                f"This link allows {grant.method}, not {method}. Ask for one that does.", code="url_invalid"
            )
        return grant
