"""How often an address may be wrong about the operator's key before it is not listened to for a while."""

import time
from collections import OrderedDict

WRONG_KEYS = 10
WINDOW_SECONDS = 60.0
_MOST_ADDRESSES = 10_000


class Tries:
    """Wrong keys by address, in windows that begin with the first one. Of one process; only its event loop asks."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Until this address is listened to again; 0: now."""
        began, count = self._wrong.get(address, (0.0, 0))
        left = began + WINDOW_SECONDS - time.monotonic()
        return int(left) + 1 if count >= WRONG_KEYS and left > 0 else 0

    def was_wrong(self, address: str) -> None:
        """Count a wrong key."""
        now = time.monotonic()
        began, count = self._wrong.pop(address, (now, 0))
        if now - began > WINDOW_SECONDS:
            began, count = now, 0
        self._wrong[address] = (began, count + 1)
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
