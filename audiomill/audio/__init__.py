"""Sound: the Audio value; decoding, encoding, resampling, levels, pictures. No engines, no store, no database."""

from audiomill.audio.audio import Audio
from audiomill.audio.decode import Decoded, Flaw, decode
from audiomill.audio.level import clipped_share, longest_silence_seconds, peak, rms_dbfs, silent_share
from audiomill.audio.probe import Probe, probe
from audiomill.audio.resample import mono, resampled

__all__ = [
    "Audio",
    "Decoded",
    "Flaw",
    "Probe",
    "clipped_share",
    "decode",
    "longest_silence_seconds",
    "mono",
    "peak",
    "probe",
    "resampled",
    "rms_dbfs",
    "silent_share",
]
