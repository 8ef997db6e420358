"""What a check says, and which checks decide: the one place that tells a rejection from a warning."""

from collections.abc import Sequence
from dataclasses import dataclass

from audiomill.errors import QualityRejected

REJECTING = frozenset(
    {
        "no_speech",  # a transcript without words is nothing to sell
        "repeating_transcript",  # a recogniser caught in a loop
        "compressible_transcript",  # a loop with small changes
        "words_beyond_end",  # times that cannot be right
        "too_many_words",  # more than anybody can say in the time
        "silent_speech",  # nothing to hear where speech was ordered
        "broken_speech",  # not a number, or no samples
        "doubtful_language",  # taken for the engine's only language, which nobody said that it is, and not understood
        "wrong_duration",  # far too short or too long for the text
    }
)
"""Failing one of these rejects the output. All others warn: they go into the receipt, and the output is delivered."""


@dataclass(frozen=True)
class Check:
    """One check of one output. `name` is also the error's code. `reason`: a sentence for the customer when not passed.

    `value` is what was measured and `limit` what it was held against, in the unit that the check's function states.
    """

    name: str
    passed: bool
    value: float
    limit: float
    reason: str | None = None

    @property
    def rejects(self) -> bool:
        """Whether the output must not be delivered because of this."""
        return not self.passed and self.name in REJECTING


def require(checks: Sequence[Check]) -> None:
    """Raise QualityRejected with the first rejecting check's sentence and, as code, its name."""
    for check in checks:
        if check.rejects:
            raise QualityRejected(check.reason or f"The result did not pass the check {check.name}.", code=check.name)
