"""What a recording says of itself, read without decoding. The truth about its length is `decode`'s."""

from pathlib import Path

from audiomill.audio.decode import answered, asked, check_size
from audiomill.decoding.reading import Probe
from audiomill.settings import LimitSettings

__all__ = ["Probe", "probe"]


def probe(path: Path, *, limits: LimitSettings) -> Probe:
    """Look at a file without decoding it; milliseconds, whatever its length.

    Raises BadInput with the codes of `decode` that show in the header; FileNotFoundError.
    """
    with path.open("rb") as file:
        check_size(file, limits)
        return answered(asked(file, None, None, limits), Probe)
