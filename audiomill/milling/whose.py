"""Whose a fault is that was met at one item and is none of its input: that item's alone, this machine's, or unclear.

The machine's ends the run, and no item is counted for it, however long it stays: a store that is away, a full disk, no
memory. The item's is handed back with it. What is neither (a file that cannot be made, though there is room; memory
that is not given, though there is some) ends the run and is counted, so that who meets it each time is found.
"""

import threading
from pathlib import Path
from typing import Literal

import psutil

from audiomill.errors import ConfigurationError, DatabaseUnavailable, LeaseLost, OperatorError, StorageUnavailable
from audiomill.scratch import SCRATCH_UNAVAILABLE, check_room
from audiomill.storage import ObjectStore
from audiomill.storage.local import STORE_FULL

Whose = Literal["item", "machine", "unclear"]

_ABOUT_ONE_ITEM = frozenset({"database_refused", "decoder_broke", "decoder_ended"})
"""Codes of faults of ours that may be one row's or one file's alone: without it the rest of its lane comes through."""

_ABOUT_NO_ITEM = (LeaseLost, DatabaseUnavailable, ConfigurationError)

_OF_A_DISK = frozenset({SCRATCH_UNAVAILABLE, STORE_FULL})
"""Codes of a disk that takes no more: with room left for others, an item may still have asked for too much."""

LEAST_ROOM_BYTES = 64 * 1024**2
LEAST_MEMORY_BYTES = 256 * 1024**2


def whose(error: Exception, store: ObjectStore, scratch: Path) -> Whose:
    """Of a fault of ours, asked at once, while what it is about is as it was. `scratch`: where this machine works."""
    code = error.code if isinstance(error, OperatorError) else None
    if code in _ABOUT_ONE_ITEM:
        return "item"
    if isinstance(error, _ABOUT_NO_ITEM) or not is_well(store, scratch):
        return "machine"
    if isinstance(error, StorageUnavailable) and code not in _OF_A_DISK:
        return "item"
    return "unclear"


ANSWER_SECONDS = 15.0


def is_well(store: ObjectStore, scratch: Path) -> bool:
    """Whether the store can be used, and this machine has room and memory. Never raises, and never hangs.

    It is the run's own thread that asks: while it waits for a disk that hangs, it notices no engine call that ends, and
    who was inside would be blamed for the run's silence.
    """
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(_answers_well(store, scratch)), name="is-well", daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    return answers == [True]


def _answers_well(store: ObjectStore, scratch: Path) -> bool:
    try:
        store.ready()
        check_room(scratch, LEAST_ROOM_BYTES)
    except (OperatorError, OSError, MemoryError):
        return False
    return int(psutil.virtual_memory().available) >= LEAST_MEMORY_BYTES
