"""pocketsphinx as an engine: utterances of recordings out to worker processes, words back in.

pocketsphinx holds the GIL, so it gets a process per core. The processes are loky's: they do not import the main module
again, which in a Dagster run would be Dagster itself. The decoding is in pocketsphinx_worker.py.
"""

import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from loky import ProcessPoolExecutor
from numpy.typing import NDArray

from audiomill.audio import Audio
from audiomill.catalogue.stages import ResourceClass
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.deaths import proves
from audiomill.engines.model_hash import folder_sha256
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.speech_to_text import pocketsphinx_worker as worker
from audiomill.engines.speech_to_text.protocol import Detected
from audiomill.engines.voice_activity import SAMPLE_RATE_HZ, Span, load_model, recogniser_samples, utterances
from audiomill.errors import (
    AudiomillError,
    BadInput,
    EngineFailed,
    EngineProcessDied,
    EngineProcessKilled,
    EngineUnavailable,
)
from audiomill.transcripts import Segment, Transcript, Word

LANGUAGES = ("en", "en-us")

LONGEST_UTTERANCE_SECONDS = 20.0
"""The decoder's memory and the size of a message to a worker (640 kB) grow with the utterance; so does what is lost
when a pause was cut wrongly."""


class Pocketsphinx:
    """CMU's recogniser with its own US English model."""

    sample_rate_hz = SAMPLE_RATE_HZ
    knows_phrases = False

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:  # noqa: ARG002 - carries its own model
        self._budget = budget
        self._pool: ProcessPoolExecutor | None = None
        self._starter: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def availability(self) -> list[Availability]:
        """One row: there when the packages are."""
        missing = [name for name in ("pocketsphinx", "faster_whisper") if find_spec(name) is None]
        lacks = f"the package {missing[0]}" if missing else None
        return [Availability(None, "cpu", available=not missing, lacks=lacks, languages=LANGUAGES)]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Start the worker processes; they build their decoders while the caller goes on. Raises EngineUnavailable.

        Here, meanwhile, the model that finds the utterances is loaded.
        """
        if model is not None:
            raise EngineUnavailable(f"pocketsphinx has one model only, not {model!r}: leave it out.")
        if resource_class != "cpu":
            raise EngineUnavailable(f"pocketsphinx runs on the CPU only, not on {resource_class}.")
        if lacks := self.availability()[0].lacks:
            raise EngineUnavailable(f"pocketsphinx lacks {lacks}.")
        self._running_pool()
        load_model()

    @property
    def identity(self) -> EngineIdentity:
        """The package's version and the hash of the model that it carries."""
        model_sha256 = folder_sha256(worker.model_folder())
        return EngineIdentity("pocketsphinx", _version(), "en-us", model_sha256, languages=LANGUAGES)

    @property
    def usage(self) -> Usage:
        """An utterance a call, two calls a core, so that no worker waits for the next."""
        return Usage(group_items=1, group_seconds=60, parallel_calls=2 * self._budget.cores)

    def close(self) -> None:
        """End the worker processes."""
        with self._lock:
            pool, self._pool = self._pool, None
            starter, self._starter = self._starter, None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=True)
        if starter is not None:
            starter.shutdown()

    def language_of(self, params: TranscribeParameters) -> str:
        """English. Any English may be tried: the order is taken, though a far accent costs words. Raises BadInput."""
        if params.language != "auto" and params.language.lower().replace("_", "-").split("-")[0] != "en":
            raise BadInput(
                f"pocketsphinx understands US English only, not {params.language!r}: order language 'en', or another "
                "engine.",
                code="language_not_supported",
            )
        return "en"

    def utterances(self, audio: Audio, params: TranscribeParameters) -> Iterator[Span]:
        """Cut at pauses, whose silence is left out where the order says so (`vad`)."""
        samples = recogniser_samples(audio)
        return utterances(samples, longest_seconds=LONGEST_UTTERANCE_SECONDS, leave_out_silence=params.vad)

    def hears_language_first(self, params: TranscribeParameters) -> bool:  # noqa: ARG002 - the protocol's
        """It knows one."""
        return False

    def detect(self, audios: Sequence[Audio]) -> list[Detected | AudiomillError]:
        """Never asked."""
        raise NotImplementedError

    def transcribe(
        self,
        audios: Sequence[Audio],
        params: TranscribeParameters,  # noqa: ARG002 - all that means something here was done while cutting
        progress: Progress | None = None,
    ) -> list[Transcript | AudiomillError]:
        """Transcribe utterances of US English, all words of each in one segment.

        Raises EngineProcessDied when a worker process crashed, EngineProcessKilled when it was killed; the next call
        gets new ones.
        """
        results: list[Transcript | AudiomillError] = []
        for audio, future in self._decoded(audios):
            try:
                words = tuple(
                    Word(word.text, word.start_seconds, word.end_seconds, word.confidence) for word in future.result()
                )
                segments = (Segment(" ".join(word.text for word in words), 0.0, audio.seconds, words),) if words else ()
                results.append(Transcript(segments, "en", None, audio.seconds))
            except RuntimeError as error:
                if isinstance(error, BrokenProcessPool):
                    raise _died(error) from error
                results.append(EngineFailed(f"pocketsphinx could not decode the recording: {error}."))
            if progress is not None:
                progress(len(results) - 1, 1.0)
        return results

    def _decoded(self, audios: Sequence[Audio]) -> Iterator[tuple[Audio, Future[list[worker.HeardWord]]]]:
        """Every utterance, in order, with its (maybe pending) words. Keeps the cores busy, no more.

        What is still to come is cancelled when the caller stops.
        """
        pending: deque[tuple[Audio, Future[list[worker.HeardWord]]]] = deque()
        try:
            for audio in audios:
                pending.append((audio, self._submit(_pcm(recogniser_samples(audio)))))
                if len(pending) > 2 * self._budget.cores:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            for _, future in pending:
                future.cancel()

    def _submit(self, pcm: bytes) -> Future[list[worker.HeardWord]]:
        try:
            future: Future[list[worker.HeardWord]] = self._running_pool().submit(worker.decode, pcm)
        except RuntimeError as error:  # broken or shut down between our look and the call
            raise _died(error) from error
        return future

    def _running_pool(self) -> ProcessPoolExecutor:
        """The pool; a new one when there is none or when a worker of it died."""
        with self._lock:
            if self._pool is not None and _is_broken(self._pool):
                self._pool.shutdown(wait=False, kill_workers=True)
                self._pool = None
            if self._pool is None:
                self._pool = self._started_pool()
            return self._pool

    def _started_pool(self) -> ProcessPoolExecutor:
        """A pool whose processes were started by a thread that lives as long as the engine.

        The kernel ends a worker with the thread that started it, and callers' threads come and go.
        """
        if self._starter is None:
            self._starter = ThreadPoolExecutor(1, "pocketsphinx-starter")
        pool = ProcessPoolExecutor(
            max_workers=self._budget.cores,
            initializer=worker.start,
            initargs=(self._budget.directory, self._budget.cores, os.getpid()),
        )
        # The first call starts all of them.
        self._starter.submit(pool.submit, worker.ready).result()
        return pool


@lru_cache(maxsize=1)
def _version() -> str:
    # Asked for each item, and each time the package's metadata would be looked for and parsed.
    try:
        return package_version("pocketsphinx")
    except PackageNotFoundError:
        return "unknown"


def _is_broken(pool: ProcessPoolExecutor) -> bool:
    """Whether a worker died; the pool itself notices a moment later only. loky has no public way to ask."""
    if pool._flags.broken is not None:
        return True
    # Not `is_alive`: it asks waitpid, and while the pool's own thread asks too, one of both takes the dead for living.
    # A sentinel is a pipe that the kernel closes when its process ends.
    try:
        return bool(wait([process.sentinel for process in list(pool._processes.values())], timeout=0))
    except (ValueError, OSError):  # put away by the pool's thread at this moment
        return True


def _died(error: RuntimeError) -> EngineProcessDied:
    """loky says in its words alone how its processes ended: `{SIGSEGV(-11)}`."""
    text = str(error)
    ended = {number: name for name, number in re.findall(r"\b(SIG[A-Z]+)\(-(\d+)\)", text)}
    reason = " ".join(text.split(". ", 1)[0].split())
    kind = EngineProcessDied if any(proves(int(number)) for number in ended) else EngineProcessKilled
    names = ", ".join(sorted(ended.values()))
    return kind(f"A pocketsphinx process died while decoding ({names or 'unknown'}): {reason}.")


def _pcm(samples: NDArray[np.float32]) -> bytes:
    """16-bit samples; a recording that was 16-bit comes back as it was."""
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return pcm.tobytes()
