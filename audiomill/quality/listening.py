"""Listening back: how much of a text is understood again in its speech. Who listens is the caller's."""

import re

from audiomill.quality.check import Check

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def word_error_rate(wanted: str, heard: str) -> float | None:
    """Words that are missing, wrong or too many, of those wanted; None where none is wanted. It may pass 1."""
    import jiwer  # noqa: PLC0415 - 50 ms that few runs need

    reference, hypothesis = (" ".join(_WORD.findall(text.casefold())) for text in (wanted, heard))
    if not reference:
        return None
    return float(jiwer.wer(reference, hypothesis)) if hypothesis else 1.0


def heard_back(wanted: str, heard: str, limit: float) -> Check:
    """Is it understood? `value` and `limit`: word error rate."""
    rate = word_error_rate(wanted, heard)
    if rate is None:
        return Check("heard_back", passed=True, value=0.0, limit=limit)
    reason = (
        f"Of the words that are spoken, a recogniser understood so little that {rate:.0%} of them count as errors. It "
        "may be its fault: listen to the result before you use it."
    )
    return Check("heard_back", rate <= limit, rate, limit, None if rate <= limit else reason)
