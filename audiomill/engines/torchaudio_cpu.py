"""torchaudio beside a CPU build of torch. Call `prepare()` before anything imports torchaudio; coqui and demucs do.

The registry's torchaudio is a CUDA build: beside a CPU torch its compiled part cannot be loaded and its import raises
OSError. Without that part resampling, spectrograms, MFCC and time-stretching work; `forced_align` and the RNN-T loss
raise. This is the one place that knows of it.
"""

import sys
from types import ModuleType
from typing import NoReturn

_MODULE = "torchaudio._extension"


def prepare() -> None:
    """Put a stand-in for torchaudio's compiled part where torch has no CUDA. Harmless when called again."""
    import torch

    if torch.version.cuda is not None or _MODULE in sys.modules:
        return
    stand_in = ModuleType(_MODULE, "No compiled part: see audiomill/engines/torchaudio_cpu.py.")
    names: dict[str, object] = {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "fail_if_no_align": _no_align,
        "_check_cuda_version": lambda: None,
    }
    for name, value in names.items():
        setattr(stand_in, name, value)
    sys.modules[_MODULE] = stand_in


def _no_align(function: object) -> object:
    """torchaudio decorates what needs its compiled aligner with this."""
    name = getattr(function, "__name__", "this function")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(f"{name} needs torchaudio's compiled part, which this CPU installation does not have")

    return refuse
