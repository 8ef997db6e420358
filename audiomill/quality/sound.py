"""The checks of sound alone, whatever it is of. What a failed check leads to is said in check.py."""

from typing import Literal

from audiomill.audio import Audio, clipped_share
from audiomill.quality.check import Check

MAX_CLIPPED_SHARE = 0.001
"""Of the samples, in flat tops of three or more. Our choice: audible as crackle; every recording that we were given
for tests has none."""


def clipping(audio: Audio, what: Literal["recording", "speech"]) -> Check:
    """Is it overdriven? `value` and `limit`: share of samples in flat tops at full scale."""
    share = clipped_share(audio)
    passed = share <= MAX_CLIPPED_SHARE
    reason = f"The {what} is overdriven: {share:.1%} of it is cut off at full scale."
    return Check("clipping", passed, share, MAX_CLIPPED_SHARE, None if passed else reason)
