"""Checks that every output passes before it may be delivered: what a check says, and the measures that stages share.

`check.py` says which checks reject and which warn. A stage's own checks are in its folder (audiomill/stages).
"""

from audiomill.quality.check import REJECTING, Check, require

__all__ = ["REJECTING", "Check", "require"]
