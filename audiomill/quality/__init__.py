"""Checks that every output passes before it may be delivered: what a check says, and the measures that stages share.

`check.py` says what rejecting and warning are. A stage's own checks are in its folder (audiomill/stages).
"""

from audiomill.quality.check import Check, require

__all__ = ["Check", "require"]
