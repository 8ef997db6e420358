"""The stage `synthesize`: texts in, speech out. Its own part only; the stream is milling/stream.py."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from audiomill.audio import Audio
from audiomill.audio.decode import decode
from audiomill.audio.encode import encode, encode_file, from_wav, rounded
from audiomill.audio.pieces import Pieces
from audiomill.catalogue.speaking import least_seconds, speech_too_long
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.protocol import Engine, Progress
from audiomill.engines.text_to_speech.cutting import chunks
from audiomill.engines.text_to_speech.protocol import Speech, TextToSpeech
from audiomill.errors import AudiomillError, BadInput
from audiomill.jobs.batches.lanes import estimated_seconds
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.inputs import check_text
from audiomill.milling.bench import Bench, unit_key
from audiomill.milling.delivery import Made, deliver, making_key
from audiomill.milling.fetching import fetch_input, read_text
from audiomill.milling.stage import Finished, Opened, StageWork, Unit
from audiomill.quality import require
from audiomill.stages.synthesize.checks import judge_speech
from audiomill.transcripts import Word

_NOTHING = frozenset({"nothing_to_speak", "empty_text"})
"""What an engine says of a piece that is all signs or spaces: of a text with others it is none's reason."""


@dataclass(frozen=True)
class Text:
    """A text at hand, and its speech: gathered piece by piece, or known of an earlier job."""

    text: str
    params: SynthesizeParameters
    pieces: Pieces
    known: Audio | None


@dataclass(frozen=True)
class Silent:
    """A piece in which there is nothing to speak, in the engine's words."""

    reason: BadInput


@dataclass(frozen=True)
class Spoken:
    """A piece that lies in the text's file: its length, and the end of its last word from its start."""

    seconds: float
    words_end_seconds: float


class Synthesizing(StageWork[Text, str, Speech | Silent, Spoken | Silent]):
    """What the stream must know of this stage. Its units are sentences, as many as the engine speaks in one go."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._engine = cast("TextToSpeech", bench.engine)

    def open(self, item: ClaimedItem, attempt: int, folder: Path) -> Opened[Text]:
        """Fetch and check the text. Raises BadInput, LimitExceeded."""
        bench = self._bench
        path = folder / "input"
        sha256 = fetch_input(bench.store, item, path, bench.settings)
        text = read_text(path, item.filename)
        check_text(text, bench.settings)
        params = SynthesizeParameters.model_validate(item.options)
        if least_seconds(text, rate_wpm=params.rate_wpm) > bench.settings.limits.max_seconds:
            raise speech_too_long(bench.settings.limits.max_seconds)
        key = making_key(item.workspace_id, item.stage, self._engine.identity, sha256, item.options)
        known = None
        if bench.fetch_known(key, folder / "known"):
            known = decode(folder / "known", spool=folder / "samples", limits=bench.settings.limits).audio
        return Opened(
            item=item,
            attempt=attempt,
            folder=folder,
            material=Text(text, params, Pieces(folder / "pieces"), known),
            seconds=_seconds(item, text),
            input_sha256=sha256,
            artifact_key=key,
            known=known is not None,
        )

    def units(self, opened: Opened[Text]) -> Iterator[Unit[str]]:
        """The text in pieces."""
        group = opened.material.params.model_copy(update={"formats": ("wav",)})
        worth = len(opened.material.text) > self._engine.longest_text
        for _, piece in chunks(opened.material.text, self._engine.longest_text):
            key = self._key(opened.item, piece) if worth else None
            yield Unit(piece, _seconds(opened.item, piece), group, key=key)

    def _key(self, item: ClaimedItem, piece: str) -> str:
        """Of a piece, in whatever text: an edited text costs what changed."""
        sha256 = hashlib.sha256(piece.encode()).hexdigest()
        return unit_key(making_key(item.workspace_id, item.stage, self._engine.identity, sha256, item.options))

    def run(
        self, engine: Engine, units: Sequence[Unit[str]], progress: Progress
    ) -> list[Speech | Silent | AudiomillError]:
        """One call. All pieces have the same parameters."""
        results = cast("TextToSpeech", engine).synthesize(
            [unit.payload for unit in units],
            cast("SynthesizeParameters", units[0].group),
            progress,
            longest_seconds=self._bench.settings.limits.max_seconds,
        )
        return [Silent(one) if isinstance(one, BadInput) and one.code in _NOTHING else one for one in results]

    def gather(self, opened: Opened[Text], index: int, result: Speech | Silent) -> Spoken | Silent:
        """Write a piece to the text's file. Raises LimitExceeded when it is one too many."""
        pieces, longest = opened.material.pieces, self._bench.settings.limits.max_seconds
        if isinstance(result, Silent):
            return result
        pieces.put(index, result.audio)
        if pieces.seconds > longest:
            raise speech_too_long(longest)
        return Spoken(result.audio.seconds, max((word.end_seconds for word in result.words), default=0.0))

    def recall(self, keys: Collection[str]) -> Mapping[str, Speech | Silent]:
        """Pieces of a text that a run before did not bring to its end. Of their words nothing is known."""
        return {key: Speech(from_wav(data)) for key, data in self._bench.units(keys).items()}

    def keep(self, opened: Opened[Text], results: Mapping[str, Speech | Silent]) -> None:
        """As 16-bit wav, which is what becomes of them."""
        found = {key: encode(one.audio, "wav").data for key, one in results.items() if isinstance(one, Speech)}
        self._bench.keep_units(opened.item, found, ".wav")

    def finish(self, engine: Engine, opened: Opened[Text], kept: Sequence[Spoken | Silent], seconds: float) -> Finished:
        """Join, judge, encode, store. Raises QualityRejected, BadInput where no piece could be spoken."""
        params, known = opened.material.params, opened.material.known
        result = Speech(known) if known is not None else _joined(opened.material.pieces, kept)
        checks = judge_speech(result, opened.material.text, params)
        require(checks)
        # Every file is encoded from the 16-bit sound that is stored, so that a job that finds the artifact of an
        # earlier one delivers the same bytes.
        stored = opened.folder / "speech.wav"
        encode_file(result.audio, "wav", stored)
        sound = rounded(result.audio)
        files = {form: opened.folder / f"speech.{form}" for form in dict.fromkeys(params.formats)}
        for form, path in files.items():
            if path != stored:
                encode_file(sound, form, path)
        made = Made(
            artifact=stored,
            artifact_suffix=".wav",
            files={path.name: path for path in files.values()},
            checks=checks,
            recording_seconds=None,
            audio_seconds=sound.seconds,
            characters=len(opened.material.text),
        )
        delivered = deliver(self._bench.store, self._bench.key, engine.identity, opened, made, seconds)
        return Finished(delivered, sound)


def _joined(pieces: Pieces, kept: Sequence[Spoken | Silent]) -> Speech:
    """The speech of all pieces. Of its words only the last is known: by their ends they are judged."""
    begun = ends = 0.0
    for one in kept:
        if isinstance(one, Spoken):
            ends = max(ends, begun + one.words_end_seconds)
            begun += one.seconds
    silent = next((one for one in kept if isinstance(one, Silent)), None)
    if silent is not None and not any(isinstance(one, Spoken) for one in kept):
        raise silent.reason
    return Speech(pieces.joined(), (Word("", ends, ends),))


def _seconds(item: ClaimedItem, text: str) -> float:
    size = len(text.encode())
    return estimated_seconds(filename=item.filename, size_bytes=size, characters=len(text), kind="text")
