"""From recordings to utterances and back: views of a sound that an engine takes, and its transcripts joined to one.

In a run the stage does this unit by unit. `transcribed` does it in one go, for whoever has a loaded engine at hand.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from audiomill.audio import Audio
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.protocol import Progress
from audiomill.engines.speech_to_text.phrases import phrases
from audiomill.engines.speech_to_text.protocol import Detected, SpeechToText
from audiomill.engines.voice_activity import Span
from audiomill.errors import AudiomillError, BadInput
from audiomill.lines.languages import UNKNOWN
from audiomill.transcripts import Segment, Transcript, Word, mean_confidence


def cut(audio: Audio, span: Span) -> Audio:
    """An utterance of a recording: a view, no copy."""
    return Audio(audio.samples[:, span.start : span.end], audio.sample_rate_hz)


def joined(
    engine: SpeechToText,
    parts: Iterable[tuple[float, Transcript]],
    params: TranscribeParameters,
    *,
    seconds: float,
    heard: Detected | None = None,
) -> Transcript:
    """The transcript of a recording of `seconds` from those of its utterances, each with the second where it begins.

    heard: the language, where that was heard first; else the first part says it, or the order.
    """
    segments: list[Segment] = []
    words: list[Word] = []
    language, probability = (heard.language, heard.probability) if heard is not None else (None, None)
    for offset, part in parts:
        if language is None and part.language != UNKNOWN:
            language, probability = part.language, part.language_probability
        for segment in part.segments:
            moved = tuple(_moved(word, offset) for word in segment.words)
            words += moved
            start, end = round(offset + segment.start_seconds, 3), round(offset + segment.end_seconds, 3)
            segments.append(Segment(segment.text, start, end, moved if params.word_timestamps else ()))
    language = language or engine.language_of(params) or UNKNOWN
    if engine.knows_phrases:
        return Transcript(tuple(segments), language, probability, seconds)
    return Transcript(
        tuple(_phrase(phrase, word_times=params.word_timestamps) for phrase in phrases(words)),
        language,
        probability,
        seconds,
        mean_confidence(words),
    )


def transcribed(
    engine: SpeechToText,
    audios: Sequence[Audio],
    params: TranscribeParameters,
    progress: Progress | None = None,
) -> list[Transcript | AudiomillError]:
    """Whole recordings in one call of the engine: one result each, in order. Raises EngineFailed as `transcribe`."""
    return [_whole(engine, index, audio, params, progress) for index, audio in enumerate(audios)]


def _whole(
    engine: SpeechToText, index: int, audio: Audio, params: TranscribeParameters, progress: Progress | None
) -> Transcript | AudiomillError:
    try:
        engine.language_of(params)
    except BadInput as error:
        return error
    spans = list(engine.utterances(audio, params))
    heard: Detected | None = None
    if spans and engine.hears_language_first(params):
        (found,) = engine.detect([cut(audio, spans[0])])
        if isinstance(found, AudiomillError):
            return found
        heard = found
        params = params.model_copy(update={"language": heard.language})

    def told(utterance: int, share: float) -> None:
        span = spans[utterance]
        done = span.start + share * (span.end - span.start)
        if progress is not None and audio.samples.shape[1]:
            progress(index, min(1.0, done / audio.samples.shape[1]))

    parts: list[tuple[float, Transcript]] = []
    for span, part in zip(spans, engine.transcribe([cut(audio, one) for one in spans], params, told), strict=True):
        if isinstance(part, AudiomillError):
            return part
        parts.append((span.start / audio.sample_rate_hz, part))
    return joined(engine, parts, params, seconds=audio.seconds, heard=heard)


def _moved(word: Word, offset: float) -> Word:
    sure = None if word.confidence is None else round(word.confidence, 4)
    return replace(
        word,
        start_seconds=round(offset + word.start_seconds, 3),
        end_seconds=round(offset + word.end_seconds, 3),
        confidence=sure,
    )


def _phrase(phrase: Sequence[Word], *, word_times: bool) -> Segment:
    text = " ".join(word.text for word in phrase)
    return Segment(text, phrase[0].start_seconds, phrase[-1].end_seconds, tuple(phrase) if word_times else ())
