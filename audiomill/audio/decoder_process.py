"""One decoding process seen from outside: started, asked, ended. Who asks which of them is `decoders`' part.

What the process answers is judged as a stranger's words: JSON of a known shape, of a known size.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from audiomill.errors import OperatorError

_START_SECONDS = 60.0
_MESSAGE_BYTES = 1 << 16

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
"""Somebody, or the machine short of memory, ended the process: no file is to blame."""

_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"}
"""All that the process gets: no key, no address, no setting of ours."""


class Died(Exception):
    """The process is gone without an answer.

    of_time: its CPU time was used up. from_outside: nothing says that the file did it.
    """

    def __init__(self, how: str, *, of_time: bool = False, from_outside: bool = False) -> None:
        super().__init__(how)
        self.how, self.of_time, self.from_outside = how, of_time, from_outside


class DecoderProcess:
    """A process of `audiomill.decoding.worker`. Used by one thread at a time.

    It dies with the thread that made it: make it in one that lives as long as it should.
    """

    def __init__(self) -> None:
        self.served = 0
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-m", "audiomill.decoding.worker", str(theirs.fileno()), str(os.getpid())],
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is not meant for it
            )
        try:
            self.confined = bool(self._heard(_START_SECONDS).get("confined"))
        except Died as death:
            self.end()
            raise OperatorError(
                f"A decoding process did not start ({death.how}).", code="decoder_did_not_start"
            ) from death
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int], *, wall_seconds: float) -> dict[str, Any]:
        """One file's answer. Raises Died; the process is of no use after it."""
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], list(descriptors))
        except OSError as error:
            raise self._death() from error
        answer = self._heard(wall_seconds)
        self.served += 1
        return answer

    def end(self) -> None:
        """End it, whatever it does. Harmless when it has ended."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _heard(self, wall_seconds: float) -> dict[str, Any]:
        self._channel.settimeout(wall_seconds)
        started = time.monotonic()
        try:
            message = self._channel.recv(_MESSAGE_BYTES)
        except TimeoutError:
            self.end()
            # It had more CPU time than that left: it was stopped, or waited for a disk or for its turn.
            raise Died(f"given up after {time.monotonic() - started:.0f} s", from_outside=True) from None
        except OSError as error:
            raise self._death() from error
        if not message:
            raise self._death()
        try:
            answer = json.loads(message)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.end()
            raise Died("it answered nonsense")
        return answer

    def _death(self) -> Died:
        """How it ended. It has closed its side, so it is on its way out; it gets a moment to be gone by itself."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        self.end()
        if code is None or code >= 0:
            # Its own program left, for a limit that this machine refuses or a fault of ours. A file kills by a signal.
            return Died(f"exit code {code}", from_outside=True)
        return Died(f"signal {-code}", of_time=-code == signal.SIGXCPU, from_outside=-code in _FROM_OUTSIDE)
