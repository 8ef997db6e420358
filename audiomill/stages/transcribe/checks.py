"""The checks of a transcript against the recording it is of. What a failed check leads to: quality/check.py."""

import re
import statistics
import zlib
from collections.abc import Sequence

from audiomill.audio import Audio, mono, resampled, silent_share
from audiomill.engines.voice_activity import SAMPLE_RATE_HZ, speech_spans
from audiomill.quality.check import Check
from audiomill.quality.sound import clipping
from audiomill.transcripts import Transcript, mean_confidence

MAX_COMPRESSION_RATIO = 2.4
"""Whisper's `compression_ratio_threshold`: above it its authors take the text of a window for a loop (Radford et al.,
Robust speech recognition via large-scale weak supervision, 2022, section 4.5)."""

COMPRESSION_WINDOW_CHARACTERS = 300
"""Whisper judges windows of at most 30 s, some 75 words. Longer windows shrink more without being loops: with 600
characters, a quarter of a minute of speech that is said again and again came to 3.6."""

MIN_LOOP_REPEATS = 6
"""A phrase said so often in a row, without a word between, counts as a loop. Our choice: people say "no no no no"."""

MAX_LOOP_PHRASE_WORDS = 12

MAX_LOOPED_SHARE = 0.5
"""Of the words; below it the rest is worth having. Our choice."""

MAX_SECONDS_BEYOND_END = 1.0
"""Whisper's times come in steps of 0.02 s; a second over is no longer rounding. Our choice."""

MAX_WORDS_PER_SECOND = 637 / 60
"""The fastest speaker on record: 637 words a minute (Steve Woodmore, Guinness World Records 1990)."""

LEAST_CONFIDENCE = 0.45
"""Mean of the words' confidence. By pocketsphinx ten real English sentences came to 0.49 to 0.93, and 20 of 27
sentences in other languages to less than 0.4 (docs/decisions/0024). Below this one warns; what refuses is a setting."""

# What is written without spaces counts by the character.
_TOKEN = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+(?:['’-][^\W_]+)*"
)


def judge_transcript(transcript: Transcript, audio: Audio) -> list[Check]:
    """Every check of a transcript. `audio`: the recording as the engine got it (any rate, any channels)."""
    words = _TOKEN.findall(transcript.text.casefold())
    found = speech_found(words, audio)
    checks = [found, clipping(audio, "recording")]
    if found.passed:
        checks += [
            words_in_time(words, audio.seconds),
            words_before_end(transcript, audio.seconds),
            loops(words),
            compression(transcript.text),
            *confidence(transcript),
        ]
    return checks


def speech_found(words: Sequence[str], audio: Audio) -> Check:
    """Are there words? `value`: how many. The reason tells silence, sound without speech, and failure apart."""
    if words:
        return Check("no_speech", passed=True, value=len(words), limit=1, rejecting=True)
    if silent_share(audio) >= 1.0:
        reason = "No speech was found: the recording is silent from start to end. Was the microphone muted?"
    else:
        spoken = resampled(mono(audio), SAMPLE_RATE_HZ).samples[0]
        seconds = sum(span.end - span.start for span in speech_spans(spoken)) / SAMPLE_RATE_HZ
        reason = (
            f"No speech was found: {seconds:.1f} seconds of the recording sound like speech, but no word was "
            "understood. Is the language right? Another engine may do better."
            if seconds > 0
            else "No speech was found: there is sound in the recording, but nobody seems to speak."
        )
    return Check("no_speech", passed=False, value=0, limit=1, reason=reason, rejecting=True)


def confidence(transcript: Transcript) -> list[Check]:
    """Was the engine sure? `value` and `limit`: mean confidence of the words; nothing where it gives none."""
    mean = confidence_of(transcript)
    if mean is None:
        return []
    passed = mean >= LEAST_CONFIDENCE
    reason = (
        f"The engine was not sure of what it heard (confidence {mean:.2f} of 1): the recording may be in a language "
        "that it does not know, or hard to hear. Read the transcript before you use it; name the language, or order an "
        "engine for it."
    )
    return [Check("low_confidence", passed, mean, LEAST_CONFIDENCE, None if passed else reason)]


def confidence_of(transcript: Transcript) -> float | None:
    """Mean confidence of the words, 0 to 1; None where the engine gives none."""
    mean = mean_confidence(word for segment in transcript.segments for word in segment.words)
    return transcript.confidence if mean is None else mean


def words_in_time(words: Sequence[str], seconds: float) -> Check:
    """Could somebody have said so many words? `value` and `limit`: words per second."""
    # A lone word of a clip of a tenth of a second is no sign of anything: count as if half a second were there.
    rate = len(words) / max(seconds, 0.5)
    passed = rate <= MAX_WORDS_PER_SECOND
    reason = f"The transcript has {len(words)} words for {seconds:.1f} seconds of sound: more than anybody can say."
    return Check("too_many_words", passed, rate, MAX_WORDS_PER_SECOND, None if passed else reason, rejecting=True)


def words_before_end(transcript: Transcript, seconds: float) -> Check:
    """Does everything end before the recording does? `value` and `limit`: seconds beyond the end."""
    ends = [segment.end_seconds for segment in transcript.segments]
    ends += [word.end_seconds for segment in transcript.segments for word in segment.words]
    beyond = max(0.0, max(ends, default=0.0) - seconds)
    passed = beyond <= MAX_SECONDS_BEYOND_END
    reason = f"The transcript goes on for {beyond:.1f} seconds after the recording ends: its times cannot be right."
    return Check("words_beyond_end", passed, beyond, MAX_SECONDS_BEYOND_END, None if passed else reason, rejecting=True)


def loops(words: Sequence[str]) -> Check:
    """Is it one phrase again and again? `value` and `limit`: share of the words that stand in loops."""
    share = looped_words(words) / len(words) if words else 0.0
    passed = share <= MAX_LOOPED_SHARE
    reason = f"The transcript repeats itself: {share:.0%} of its words are the same phrase again and again."
    return Check("repeating_transcript", passed, share, MAX_LOOPED_SHARE, None if passed else reason, rejecting=True)


def looped_words(words: Sequence[str]) -> int:
    """How many words stand in loops: a phrase of 1 to 12 words, at least 6 times in a row."""
    looped = [False] * len(words)
    for length in range(1, MAX_LOOP_PHRASE_WORDS + 1):
        run = 0  # how many words in a row equal the word one phrase earlier
        for index in range(length, len(words) + 1):
            if index < len(words) and words[index] == words[index - length]:
                run += 1
                continue
            if run >= length * (MIN_LOOP_REPEATS - 1):
                looped[index - run - length : index] = [True] * (run + length)
            run = 0
    return sum(looped)


def compression(text: str) -> Check:
    """Does the text shrink like a loop? `value` and `limit`: median ratio of its windows to their zlib size.

    Catches what the search for exact loops does not: loops with small changes.
    """
    size = COMPRESSION_WINDOW_CHARACTERS
    windows = [text[start : start + size].encode() for start in range(0, max(1, len(text)), size)]
    ratio = statistics.median(len(window) / len(zlib.compress(window)) for window in windows)
    passed = ratio <= MAX_COMPRESSION_RATIO
    reason = f"The transcript repeats itself: it shrinks to 1/{ratio:.1f} when compressed, as no speech does."
    told = None if passed else reason
    return Check("compressible_transcript", passed, ratio, MAX_COMPRESSION_RATIO, told, rejecting=True)
