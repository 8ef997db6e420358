"""Who speaks which line, where nobody said it: high voices and low ones are told apart, no more. Pure.

Real speaker turns need an engine of their own. Of lines whose pitches fall into two heaps, the heaps are two speakers:
enough for the voices of a man and a woman, and never wrong by more than one voice for all.
"""

import math
from collections.abc import Sequence

LEAST_APART_SEMITONES = 5.0
"""Between the middles of the two heaps. One speaker's lines spread by some 2 semitones, whose halves are 3 apart."""

LEAST_EXPLAINED = 0.75
"""Of the variance, by the division into two; a normal distribution cut in the middle comes to 0.64."""


def speakers_by_pitch(pitches_hz: Sequence[float | None]) -> list[str]:
    """A speaker for each line, by its median pitch: `S1` is who begins, `S2` the other, if there is one.

    A line without a pitch is the speaker's before it.
    """
    boundary = _boundary([12 * math.log2(pitch) for pitch in pitches_hz if pitch])
    heaps: list[bool] = []
    for pitch in pitches_hz:
        before = heaps[-1] if heaps else None
        heaps.append(12 * math.log2(pitch) > boundary if pitch else bool(before))
    return ["S1" if heap == heaps[0] else "S2" for heap in heaps]


def _boundary(semitones: Sequence[float]) -> float:
    """Between the two heaps; above all where there is one heap only."""
    ordered = sorted(semitones)
    best, explained = math.inf, 0.0
    total = sum(ordered)
    mean = total / max(1, len(ordered))
    whole = sum((one - mean) ** 2 for one in ordered)
    lower = 0.0
    for at in range(1, len(ordered)):
        lower += ordered[at - 1]
        below, above = lower / at, (total - lower) / (len(ordered) - at)
        share = (at * (below - mean) ** 2 + (len(ordered) - at) * (above - mean) ** 2) / whole if whole else 0.0
        if share > explained and above - below >= LEAST_APART_SEMITONES:
            best, explained = (ordered[at - 1] + ordered[at]) / 2, share
    return best if explained >= LEAST_EXPLAINED else math.inf
