"""Sound: the Audio value; decoding, encoding, resampling, levels, pictures. No engines, no store, no database."""

from audiomill.audio.audio import Audio
from audiomill.audio.level import clipped_share, longest_silence_seconds, peak, rms_dbfs, silent_share

__all__ = ["Audio", "clipped_share", "longest_silence_seconds", "peak", "rms_dbfs", "silent_share"]
