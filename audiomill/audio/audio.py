"""The Audio value: sound in memory (or mapped from a file). Decoding, encoding and pictures are its neighbours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound.

    samples: float32 [channels, samples], nominal range -1 to 1; may be a read-only `numpy.memmap`, so that a
        recording of hours does not sit in memory.
    sample_rate_hz: samples per second.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:  # noqa: PLR2004 - [channels, samples]
            raise ValueError(
                f"samples must be float32 [channels, samples], not {self.samples.dtype} {self.samples.shape}"
            )
        if self.sample_rate_hz <= 0:
            raise ValueError(f"sample_rate_hz must be positive, not {self.sample_rate_hz}")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1]) / self.sample_rate_hz
