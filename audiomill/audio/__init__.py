"""Sound: the Audio value; decoding, encoding, resampling, pictures. No engines, no store, no database."""

from audiomill.audio.audio import Audio

__all__ = ["Audio"]
