"""Decoding in this process, where a test can change its parts; production never does."""

from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from audiomill.decoding.reading import Order, read_sound


def decoded_here(
    path: Path, *, sample_rate_hz: int | None = None, mono: bool = False, max_seconds: float = 36_000
) -> np.ndarray:
    """float32 [channels, samples]."""
    with path.open("rb") as file, TemporaryFile() as out:
        sound = read_sound(file, out, Order(sample_rate_hz, mono, max_seconds, 1 << 34))
        out.seek(0)
        return np.frombuffer(out.read(), np.float32).reshape(-1, sound.channels).T
