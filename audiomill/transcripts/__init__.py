"""What was said, when: the Transcript value and the files it is written to. No audio, no engines."""

from audiomill.transcripts.transcript import Segment, Transcript, Word, mean_confidence

__all__ = ["Segment", "Transcript", "Word", "mean_confidence"]
