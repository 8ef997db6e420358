"""What a process died of, where that says something of what it worked on. Who reads it, and where: its callers."""

import signal

BY_ITS_INPUT = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE})
"""What a process brings on itself by what it computes on. Nobody's hand sends them, nor does the kernel for want of
memory. SIGBUS is none of them: a disk that does not give a page of a mapped file sends it; nor is SIGILL, by which a
library dies on each input that was built for another CPU."""


def proves(number: int | None) -> bool:
    """Whether a death by this signal tells of the input. None: it was no signal, or nobody knows."""
    return number in BY_ITS_INPUT
