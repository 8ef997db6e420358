"""Another sample rate, fewer channels, for sound that is decoded. In pieces; their sizes do not change a sample."""

from audiomill.audio.audio import Audio
from audiomill.audio.blocks import blocks
from audiomill.audio.spool import Spool
from audiomill.decoding.resampler import Resampler, downmixed


def resampled(audio: Audio, sample_rate_hz: int) -> Audio:
    """The same sound at another rate; the very same object when it already has it.

    Returns `ceil(samples x ratio)` samples, give or take one. Long sound comes back memory-mapped. Raises ValueError
    for a rate that is not positive.
    """
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz must be positive, not {sample_rate_hz}")
    if sample_rate_hz == audio.sample_rate_hz:
        return audio
    resampler = Resampler(audio.sample_rate_hz, sample_rate_hz, audio.channels)
    with Spool() as spool:
        for block in blocks(audio):
            spool.write(resampler.feed(block.T))
        spool.write(resampler.finish())
        return spool.finish(sample_rate_hz)


def mono(audio: Audio) -> Audio:
    """One channel, the mean of all; the very same object when it is mono already."""
    if audio.channels == 1:
        return audio
    if not audio.samples.size:
        return Audio(audio.samples[:1], audio.sample_rate_hz)
    with Spool() as spool:
        for block in blocks(audio):
            spool.write(downmixed(block.T))
        return spool.finish(audio.sample_rate_hz)
