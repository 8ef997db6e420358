"""What a check says, and what follows when it is not passed. Which checks reject, each says itself where it is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from audiomill.errors import QualityRejected


@dataclass(frozen=True)
class Check:
    """One check of one output. `name` is also the error's code. `reason`: a sentence for the customer when not passed.

    `value` is what was measured and `limit` what it was held against, in the unit that the check's function states.
    `rejecting`: not passed, the output is not delivered. All others warn: they go into the receipt, with the output.
    """

    name: str
    passed: bool
    value: float
    limit: float
    reason: str | None = None
    rejecting: bool = False

    @property
    def rejects(self) -> bool:
        """Whether the output must not be delivered because of this."""
        return not self.passed and self.rejecting


def require(checks: Sequence[Check]) -> None:
    """Raise QualityRejected with the first rejecting check's sentence and, as code, its name."""
    for check in checks:
        if check.rejects:
            raise QualityRejected(check.reason or f"The result did not pass the check {check.name}.", code=check.name)
