"""Sound: the Audio value; decoding (in processes of its own), encoding, resampling, levels, pictures. No engines, no
store, no database."""

from audiomill.audio.audio import Audio
from audiomill.audio.decode import Decoded, decode
from audiomill.audio.encode import Encoded, SoundFormat, encode, encode_file, rounded
from audiomill.audio.level import clipped_share, longest_silence_seconds, peak, rms_dbfs, silent_share
from audiomill.audio.picture import MOST_ON_A_SHEET, Envelope, contact_sheet, envelope, waveform_png
from audiomill.audio.probe import Probe, probe
from audiomill.audio.resample import mono, resampled
from audiomill.decoding.flaws import Flaw

__all__ = [
    "MOST_ON_A_SHEET",
    "Audio",
    "Decoded",
    "Encoded",
    "Envelope",
    "Flaw",
    "Probe",
    "SoundFormat",
    "clipped_share",
    "contact_sheet",
    "decode",
    "encode",
    "encode_file",
    "envelope",
    "longest_silence_seconds",
    "mono",
    "peak",
    "probe",
    "resampled",
    "rms_dbfs",
    "rounded",
    "silent_share",
    "waveform_png",
]
