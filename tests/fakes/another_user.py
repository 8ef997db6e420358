"""Another user of the machine: runs a function as `nobody` in a child of this process, which must be root's."""

import os
import traceback
from collections.abc import Callable

import pytest

NOBODY = 65534


def as_nobody(act: Callable[[], object]) -> str:
    """What became of it: the traceback of the error it raised, or `done: <result>`. Skips where we are not root.

    A fork and not a new program: the interpreter and the checkout need not be readable to that user.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = f"done: {act()!r}"
        except BaseException:  # noqa: BLE001 - all of it is the answer
            said = traceback.format_exc()
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said
