"""The checks of speech made from a text. What a failed check leads to is said in quality/check.py."""

import math
import unicodedata

from audiomill.audio import peak, silent_share
from audiomill.catalogue.speaking import REFERENCE_RATE_WPM
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.text_to_speech.protocol import Speech
from audiomill.quality.check import Check
from audiomill.quality.sound import clipping

MAX_SILENT_SHARE = 0.9
"""Of the length, in windows of 50 ms below -60 dBFS. Three words in paragraphs of their own, at 80 words a minute by
espeak-ng, are 0.58 silence; ordinary text is at most 0.16."""

MIN_SECONDS_PER_CHARACTER = 0.02
"""At 175 words a minute. espeak-ng takes 0.05 to 0.08 s for a letter of a spoken word in English and German."""

MAX_SECONDS_PER_CHARACTER = 1.5
"""At 175 words a minute. espeak-ng takes 0.3 to 0.5 s for a digit or an ideograph, 1 s for the name of a symbol."""

SLACK_SECONDS = 3.0
"""Pauses, and names of single symbols that last longer."""

MAX_SECONDS_BEYOND_END = 0.1


def judge_speech(speech: Speech, text: str, params: SynthesizeParameters) -> list[Check]:
    """Every check of speech against the text that was ordered."""
    sound = sound_whole(speech)
    if not sound.passed:
        return [sound]
    return [
        sound,
        not_silent(speech),
        duration(speech, text, params.rate_wpm),
        words_before_end(speech),
        clipping(speech.audio, "speech"),
    ]


def sound_whole(speech: Speech) -> Check:
    """Are there samples, and all of them numbers? `value`: the largest sample."""
    highest = peak(speech.audio)
    passed = speech.audio.samples.shape[1] > 0 and math.isfinite(highest)
    value = highest if math.isfinite(highest) else -1.0  # JSON knows no NaN
    reason = "The speech is not whole: it has no samples, or samples that are not numbers."
    return Check("broken_speech", passed, value, 0.0, None if passed else reason, rejecting=True)


def not_silent(speech: Speech) -> Check:
    """Is there something to hear? `value` and `limit`: silent share of the length."""
    share = silent_share(speech.audio)
    passed = share <= MAX_SILENT_SHARE
    reason = f"The speech is silent for {share:.0%} of its length: the engine did not speak the text."
    return Check("silent_speech", passed, share, MAX_SILENT_SHARE, None if passed else reason, rejecting=True)


def duration(speech: Speech, text: str, rate_wpm: int) -> Check:
    """Does the length fit the text? `value`: seconds; `limit`: the bound that was passed, or the upper one."""
    spoken = sum(unicodedata.category(character)[0] in "LNS" for character in text)
    scale = REFERENCE_RATE_WPM / rate_wpm
    least = spoken * MIN_SECONDS_PER_CHARACTER * scale
    most = spoken * MAX_SECONDS_PER_CHARACTER * scale + SLACK_SECONDS
    seconds = speech.audio.seconds
    if least <= seconds <= most:
        return Check("wrong_duration", passed=True, value=seconds, limit=most, rejecting=True)
    bound, word = (least, "short") if seconds < least else (most, "long")
    reason = (
        f"The speech lasts {seconds:.1f} seconds, far too {word} for a text of {spoken} letters, digits and symbols "
        f"at {rate_wpm} words a minute."
    )
    return Check("wrong_duration", passed=False, value=seconds, limit=bound, reason=reason, rejecting=True)


def words_before_end(speech: Speech) -> Check:
    """Do the words' times lie within the sound? `value` and `limit`: seconds beyond the end."""
    beyond = max(0.0, max((word.end_seconds for word in speech.words), default=0.0) - speech.audio.seconds)
    passed = beyond <= MAX_SECONDS_BEYOND_END
    reason = f"The words' times go on for {beyond:.1f} seconds after the speech ends."
    return Check("words_beyond_end", passed, beyond, MAX_SECONDS_BEYOND_END, None if passed else reason, rejecting=True)
