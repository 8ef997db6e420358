"""The checks that every output passes before it may be delivered. Pure functions of sounds and texts.

`check.py` says which checks reject and which warn.
"""

from audiomill.quality.check import REJECTING, Check, require
from audiomill.quality.language import guessed_language
from audiomill.quality.speech import judge_speech
from audiomill.quality.transcripts import judge_transcript

__all__ = ["REJECTING", "Check", "guessed_language", "judge_speech", "judge_transcript", "require"]
