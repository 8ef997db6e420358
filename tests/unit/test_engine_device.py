"""What libraries say of a device at fault is told from what they say of an input."""

from pathlib import Path

import numpy as np
import pytest

from audiomill.audio import Audio
from audiomill.engines.cores import CoreBudget
from audiomill.engines.device import check_device
from audiomill.engines.separation.demucs import Demucs
from audiomill.engines.separation.protocol import Chunk
from audiomill.errors import EngineFailed, OperatorError

OF_THE_DEVICE = [
    "CUDA failed with error out of memory",
    "CUDA failed with error unspecified launch failure",
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139 GiB",
    "CUDA error: an illegal memory access was encountered",
    "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
    "cuDNN failed with status CUDNN_STATUS_EXECUTION_FAILED",
    "CUDNN_BACKEND_API_FAILED",
    "[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes.",
]


@pytest.mark.parametrize("words", OF_THE_DEVICE)
def test_a_device_at_fault_breaks_no_engine(words: str) -> None:
    with pytest.raises(OperatorError) as caught:
        check_device("whoever", RuntimeError(words))
    assert (caught.value.code, isinstance(caught.value, EngineFailed)) == ("device_failed", False)


@pytest.mark.parametrize("words", ["prompt too long", "The size of tensor a (3) must match b (4)", "barracuda", ""])
def test_what_else_goes_wrong_is_the_engines(words: str) -> None:
    check_device("whoever", RuntimeError(words))


def test_demucs_blames_no_chunk_for_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Demucs(model_store=tmp_path, budget=CoreBudget(tmp_path / "cores", 1))
    monkeypatch.setattr(engine, "_model", object())

    def voice(words: str) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(engine, "_voice", lambda _: voice("CUDA error: device-side assert triggered"))
    chunk = Chunk(Audio(np.zeros((1, 8), np.float32), 16_000), 0, 8)
    with pytest.raises(OperatorError, match="device under demucs"):
        engine.separate([chunk])
    monkeypatch.setattr(engine, "_voice", lambda _: voice("no such layer"))
    assert isinstance(engine.separate([chunk])[0], EngineFailed)
