"""Whose key it is, asked with every request: plain SQL, known again for a second. Making and revoking is in `keys.py`.

A revoked key is refused at most `KNOWN_SECONDS` later. Keys that are refused are not remembered, so that strangers
cannot fill the memory and a new key works at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from audiomill.accounts.keys import Principal, has_the_form_of_a_key, sha256_of, unknown_key
from audiomill.database.reading import Reader

KNOWN_SECONDS = 1.0
KNOWN_KEYS = 10_000

_STATEMENT = b"SELECT id, workspace_id FROM api_keys WHERE sha256 = %(sha256)s AND revoked_at IS NULL"


class KeyCheck:
    """Checks keys. Used on one event loop."""

    def __init__(self, reader: Reader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._clock = reader, clock
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def principal(self, plaintext: str) -> Principal:
        """Whose key it is. Raises Unauthorized (`unknown_key`), DatabaseUnavailable."""
        if not has_the_form_of_a_key(plaintext):
            raise unknown_key()
        sha256 = sha256_of(plaintext)
        asked_at = self._clock()
        known = self._known.get(sha256)
        if known is not None and asked_at - known[0] < KNOWN_SECONDS:
            return known[1]
        rows = await self._reader.rows(_STATEMENT, {"sha256": sha256})
        if not rows:
            self._known.pop(sha256, None)
            raise unknown_key()
        principal = Principal(workspace_id=rows[0]["workspace_id"], key_id=rows[0]["id"])
        # As of when it was asked, not answered: a key may have been revoked in between.
        self._known[sha256] = (asked_at, principal)
        self._known.move_to_end(sha256)
        if len(self._known) > KNOWN_KEYS:
            self._known.popitem(last=False)
        return principal
