"""The check of a transcript whose language nobody named, by an engine that could take it for one language only."""

from audiomill.quality.check import Check
from audiomill.stages.transcribe.checks import confidence_of
from audiomill.transcripts import Transcript

_NAMES = {"en": "English"}
"""As a sentence calls them; another language is called by its tag."""


def guessed_language(transcript: Transcript, language: str, *, filename: str, limit: float) -> list[Check]:
    """Was it understood well enough to be in `language`? `value` and `limit`: mean confidence of the words.

    Nothing where the engine gives no confidence. The limit is a setting (`quality.least_confidence`).
    """
    mean = confidence_of(transcript)
    if mean is None:
        return []
    passed = mean >= limit
    reason = (
        f"{filename!r} was taken for {_NAMES.get(language, f'the language {language!r}')}, the only language that the "
        f"engine here knows, and could hardly be understood (confidence {mean:.2f} of 1). Name its language "
        "(`language`), or order it with an engine for its language."
    )
    return [Check("doubtful_language", passed, mean, limit, None if passed else reason, rejecting=True)]
