"""What a library says where the device under it is at fault: a GPU that is full, sick or gone, or no memory.

No input is to blame for it, for a neighbour's hunger is enough, and a sick GPU breaks on every input alike. So it is no
EngineFailed, and what becomes of it is decided as with a full disk (audiomill/milling/whose.py).
"""

import re

from audiomill.errors import OperatorError

DEVICE_FAILED = "device_failed"

_OF_THE_DEVICE = re.compile(
    r"\b(CUDA|CUBLAS|CUDNN|CUFFT|CUSOLVER|CUSPARSE|NCCL)(?=\b|_)|out of memory|allocate memory", re.IGNORECASE
)
"""As CTranslate2 and torch begin what they heard of it: `CUDA failed with error …`, `CUDA error: …`,
`cuBLAS failed with status CUBLAS_STATUS_…`, `cuDNN error: …`, `CUDA out of memory. …`, `can't allocate memory`."""


def check_device(engine: str, error: Exception) -> None:
    """Raises OperatorError (`device_failed`) where a library's error is the device's. Its words hold no content."""
    if _OF_THE_DEVICE.search(str(error)):
        raise OperatorError(f"The device under {engine} failed: {error}", code=DEVICE_FAILED) from error
