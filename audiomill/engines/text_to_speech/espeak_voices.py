"""Which of espeak-ng's voices speaks for whom: by a speaker's pitch range. Pure; how pitch is found is the caller's.

Ranges: Baken and Orlikoff, Clinical Measurement of Speech and Voice (2000): men 85 to 155 Hz, women 165 to 255 Hz,
children above.
"""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class SpeakingVoice(BaseModel):
    """A voice: the variant laid over its language's voice, and its pitch, 0 to 99."""

    model_config = ConfigDict(frozen=True)

    variant: str = Field(description="`m1`, `f3`")
    pitch: int = Field(ge=0, le=99)


_RANGES: tuple[tuple[float, tuple[SpeakingVoice, ...]], ...] = (
    (110.0, (SpeakingVoice(variant="m7", pitch=35), SpeakingVoice(variant="m3", pitch=40))),
    (160.0, (SpeakingVoice(variant="m1", pitch=50), SpeakingVoice(variant="m5", pitch=55))),
    (215.0, (SpeakingVoice(variant="f2", pitch=45), SpeakingVoice(variant="f3", pitch=50))),
    (float("inf"), (SpeakingVoice(variant="f4", pitch=65), SpeakingVoice(variant="f5", pitch=75))),
)
"""Upper end of each range in Hz, and its voices in the order in which speakers get them."""

UNKNOWN_HZ = 140.0
"""Of a speaker in whose stretches no pitch was found: between the two."""


def voices_by_pitch(pitch_hz: Mapping[str, float | None]) -> dict[str, SpeakingVoice]:
    """A voice for each speaker by their median pitch. The same speakers get the same voices, in whatever order.

    Two of one range get different voices as far as it has some; more than it has share them in turn.
    """
    taken = [0] * len(_RANGES)
    chosen: dict[str, SpeakingVoice] = {}
    ordered = sorted(pitch_hz, key=lambda speaker: (pitch_hz[speaker] or UNKNOWN_HZ, speaker))
    for speaker in ordered:
        place = next(at for at, (until, _) in enumerate(_RANGES) if (pitch_hz[speaker] or UNKNOWN_HZ) < until)
        voices = _RANGES[place][1]
        chosen[speaker] = voices[taken[place] % len(voices)]
        taken[place] += 1
    return {speaker: chosen[speaker] for speaker in pitch_hz}
