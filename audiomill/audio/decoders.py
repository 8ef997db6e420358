"""The decoding processes of this process: as many as are asked at a time, kept for the next file, each file's fate its
own.

A verdict against a file needs proof: a process that has served others before may have been broken by them, so what it
died of, or ran out of memory on, is tried once more in a fresh one.
"""

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import structlog

from audiomill.audio.decoder_process import DecoderProcess, Died
from audiomill.errors import BadInput, OperatorError

MOST_PROCESSES = 4
"""Of one run, which fetches with four threads; fewer where there are fewer cores. One at rest takes 45 MB."""

log = structlog.get_logger(__name__)


class Decoders:
    """A pool of decoding processes. Safe to use from several threads."""

    def __init__(self, most: int | None = None) -> None:
        self._places = threading.BoundedSemaphore(most or min(MOST_PROCESSES, len(os.sched_getaffinity(0))))
        self._lock = threading.Lock()
        self._idle: list[DecoderProcess] = []
        self._all: set[DecoderProcess] = set()
        self._begun: Future[DecoderProcess] | None = None
        # Decoding processes die with the thread that started them: this one lives until the interpreter ends.
        self._starter = ThreadPoolExecutor(1, "decoders")

    def begin(self) -> None:
        """Have a process started for the first file to come, and go on at once. Harmless where there is one."""
        with self._lock:
            if self._begun is None and not self._all:
                self._begun = self._starter.submit(self._started)

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int], *, wall_seconds: float) -> dict[str, Any]:
        """A process's answer to a request (see `audiomill.decoding.worker`); `descriptors` are handed to it.

        Raises BadInput (`decoding_takes_too_long`, `decoder_crashed`) when its process died of the file, OperatorError
        (`decoder_ended`) when nothing proves that it did.
        """
        with self._places:
            for last in (False, True):
                process = self._taken(fresh=last)
                proof = process.served == 0
                try:
                    answer = process.ask(request, descriptors, wall_seconds=wall_seconds)
                except Died as death:
                    self._gone(process)
                    log.warning("decoding process died", how=death.how, served=process.served)
                    if last or (proof and not death.from_outside) or death.of_time:
                        raise _verdict(death) from death
                    continue
                except BaseException:
                    self._gone(process)
                    raise
                if _of_memory(answer) and not proof and not last:
                    self._gone(process)
                    continue
                with self._lock:
                    self._idle.append(process)
                return answer
        raise AssertionError("unreachable")

    def pids(self) -> list[int]:
        """Of the processes that live."""
        with self._lock:
            return [process.pid for process in self._all]

    def close(self) -> None:
        """End all processes. Later asking starts new ones."""
        with self._lock:
            begun, self._begun = self._begun, None
        if begun is not None and not begun.cancel():
            wait([begun])
        with self._lock:
            processes, self._idle = list(self._all), []
            self._all.clear()
        for process in processes:
            process.end()

    def _taken(self, *, fresh: bool) -> DecoderProcess:
        with self._lock:
            if self._idle and not fresh:
                return self._idle.pop()
            spare = self._idle.pop() if self._idle else None
            begun, self._begun = self._begun, None
        if spare is not None:  # its place is wanted
            self._gone(spare)
        return (begun or self._starter.submit(self._started)).result()

    def _started(self) -> DecoderProcess:
        process = DecoderProcess()
        if not process.confined:
            log.warning("decoding processes are not confined by seccomp on this machine")
        with self._lock:
            self._all.add(process)
        return process

    def _gone(self, process: DecoderProcess) -> None:
        with self._lock:
            self._all.discard(process)
        process.end()


def _of_memory(answer: Mapping[str, Any]) -> bool:
    refused = answer.get("refused")
    return isinstance(refused, dict) and refused.get("code") == "needs_too_much_memory"


def _verdict(death: Died) -> BadInput | OperatorError:
    if death.from_outside:
        return OperatorError(
            f"A decoding process ended twice, and not by its file ({death.how}).", code="decoder_ended"
        )
    if death.of_time:
        return BadInput(
            "The file takes longer to decode than any sound of its size should. It is damaged, or was made to. "
            "Export it again as WAV, FLAC or MP3.",
            code="decoding_takes_too_long",
        )
    return BadInput(
        "The file breaks the decoder each time: it is damaged in a way that no player should meet. "
        "Export it again as WAV, FLAC or MP3.",
        code="decoder_crashed",
    )


class _Ours:
    """This process's pool, made when first used. A forked child makes its own: the processes are its parent's."""

    lock = threading.Lock()
    pool: Decoders | None = None
    owner = 0


def decoders() -> Decoders:
    """The pool of this process."""
    with _Ours.lock:
        if _Ours.pool is None or _Ours.owner != os.getpid():
            _Ours.pool, _Ours.owner = Decoders(), os.getpid()
        return _Ours.pool


@atexit.register
def _close() -> None:
    if _Ours.pool is not None and _Ours.owner == os.getpid():
        _Ours.pool.close()
