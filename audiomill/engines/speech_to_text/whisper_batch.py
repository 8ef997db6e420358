"""Utterances of many recordings through Whisper at once: one encode, one generate, one alignment for all of them.

With the library's parts, and not its `BatchedInferencePipeline`: that batches the pieces of one recording only, and
lets the end of one piece move the first word of the next, so that times would depend on what shares a call.
Nothing is sampled, and no utterance knows the text of another.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.engines.speech_to_text.phrases import phrases
from audiomill.engines.voice_activity import SAMPLE_RATE_HZ
from audiomill.transcripts import Segment, Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WINDOW_SECONDS = 30.0
"""What Whisper hears at once; shorter sound is padded to it."""

_NO_SPEECH, _UNLIKELY = 0.6, -1.0
"""Whisper's `no_speech_threshold` and `log_prob_threshold`: beyond both, what was generated is made up of silence."""

_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word after it, or before it: the library's own."""


def decoded(
    model: "WhisperModel", utterances: Sequence[NDArray[np.float32]], params: TranscribeParameters, language: str
) -> list[tuple[Segment, ...]]:
    """Phrases with words for each utterance of at most 30 s. `language`: as Whisper calls it.

    Raises RuntimeError, ValueError: all that CTranslate2 raises.
    """
    from faster_whisper.tokenizer import Tokenizer
    from faster_whisper.transcribe import get_suppressed_tokens

    tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task=params.task, language=language)
    before = tokenizer.encode(" " + params.initial_prompt.strip()) if params.initial_prompt else []
    prompt = model.get_prompt(tokenizer, before, without_timestamps=True, hotwords=", ".join(params.hotwords) or None)
    encoded = encode(model, utterances)
    results = model.model.generate(
        encoded,
        [list(prompt) for _ in utterances],
        beam_size=params.beam_size,
        max_length=model.max_length,
        suppress_blank=True,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        return_scores=True,
        return_no_speech_prob=True,
    )
    texts = [_text_tokens(result, tokenizer) for result in results]
    frames = [math.ceil(len(samples) / SAMPLE_RATE_HZ) * model.frames_per_second for samples in utterances]
    aligned = model.find_alignment(tokenizer, texts, encoded, frames)
    return [_phrases(words, len(samples) / SAMPLE_RATE_HZ) for words, samples in zip(aligned, utterances, strict=True)]


def languages(model: "WhisperModel", utterances: Sequence[NDArray[np.float32]]) -> list[tuple[str, float]]:
    """The language of each, as Whisper calls it, and its probability."""
    found = model.model.detect_language(encode(model, utterances))
    return [(str(ranked[0][0])[2:-2], float(ranked[0][1])) for ranked in found]


def encode(model: "WhisperModel", utterances: Sequence[NDArray[np.float32]]) -> Any:  # noqa: ANN401 - CTranslate2's
    """Spectrograms, each padded to Whisper's window, through the encoder."""
    from faster_whisper.audio import pad_or_trim

    return model.encode(np.stack([pad_or_trim(model.feature_extractor(each)[..., :-1]) for each in utterances]))


def _text_tokens(result: Any, tokenizer: Any) -> list[int]:  # noqa: ANN401 - the library's
    tokens = result.sequences_ids[0]
    likely = result.scores[0] * len(tokens) / (len(tokens) + 1)
    if result.no_speech_prob > _NO_SPEECH and likely < _UNLIKELY:
        return []
    return [token for token in tokens if token < tokenizer.eot]


def _phrases(words: list[dict[str, Any]], seconds: float) -> tuple[Segment, ...]:
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(words, _PREPENDED, _APPENDED)
    # As Whisper writes them, with the space before, or without one in scripts that have none.
    written = [
        Word(
            word["word"],
            min(float(word["start"]), seconds),
            min(float(word["end"]), seconds),
            min(1.0, max(0.0, float(word["probability"]))),
        )
        for word in words
        if word["word"]
    ]
    return tuple(
        Segment(
            text,
            phrase[0].start_seconds,
            phrase[-1].end_seconds,
            tuple(Word(word.text.strip(), word.start_seconds, word.end_seconds, word.confidence) for word in phrase),
        )
        for phrase in phrases(written)
        if (text := "".join(word.text for word in phrase).strip())
    )
