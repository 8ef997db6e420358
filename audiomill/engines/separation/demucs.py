"""Demucs (htdemucs) as a separator: its vocals are the voice, the rest the background. Weights from the model store.

Checkpoints are pickles: only what an operator has installed is loaded.
"""

from collections.abc import Sequence
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.cores import CoreBudget
from audiomill.engines.device import check_device
from audiomill.engines.model_store import ModelStore, missing
from audiomill.engines.of_one_model import OfOneModel
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.separation.protocol import Chunk, Separated, separated
from audiomill.engines.torchaudio_cpu import prepare
from audiomill.errors import AudiomillError, EngineFailed, EngineUnavailable

NAME = "demucs"
DEFAULT_MODEL = "htdemucs"


class Demucs(OfOneModel):
    """Hybrid transformer Demucs, on the CPU or a GPU."""

    context_seconds = 2.0

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:
        self._store = ModelStore(model_store)
        self._budget = budget
        self._model: Any = None
        self._device = "cpu"

    def availability(self) -> list[Availability]:
        """A row for each installed model, or for the default one that is not."""
        lacks = None if find_spec("demucs") is not None else "the package demucs (the extra `torch`)"
        models = [model.model for model in self._store.installed() if model.engine == NAME]
        if lacks is None and models:
            return [Availability(model, "cpu", True, None, None) for model in models]
        return [Availability(DEFAULT_MODEL, "cpu", False, lacks or missing(NAME, DEFAULT_MODEL), None)]

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Load a model from the store. Raises EngineUnavailable."""
        name = model or DEFAULT_MODEL
        installed = self._store.verified(NAME, name)
        if find_spec("demucs") is None:
            raise EngineUnavailable("demucs lacks the package demucs (the extra `torch`).")
        prepare()
        from demucs.pretrained import get_model

        try:
            loaded = get_model(name, repo=self._store.path(NAME, name))
        except Exception as error:  # whatever a damaged pickle raises
            raise EngineUnavailable(f"demucs cannot load the weights of {name!r}.") from error
        if "vocals" not in loaded.sources:
            raise EngineUnavailable(f"The model {name!r} does not separate voices.")
        self._device = "cuda" if resource_class == "gpu" else "cpu"
        self._model = loaded.eval()
        self._identity = EngineIdentity(NAME, package_version("demucs"), name, installed.sha256)

    @property
    def usage(self) -> Usage:
        """One call uses the whole GPU, or all cores."""
        return Usage(group_items=8, group_seconds=300, parallel_calls=1)

    def close(self) -> None:
        """Free the model."""
        self._model = self._identity = None

    def separate(self, chunks: Sequence[Chunk], progress: Progress | None = None) -> list[Separated | AudiomillError]:
        """Separate each chunk by itself: in one tensor with others its last bits would depend on them.

        Raises OperatorError (`device_failed`).
        """
        if self._model is None:
            raise RuntimeError("load a model first")
        results: list[Separated | AudiomillError] = []
        for index, chunk in enumerate(chunks):
            try:
                with self._budget.take(self._budget.cores if self._device == "cpu" else 1):
                    results.append(separated(chunk, self._voice(chunk)))
            except RuntimeError as error:  # all that torch raises
                check_device(NAME, error)
                results.append(EngineFailed(f"demucs could not separate: {type(error).__name__}."))
            if progress is not None:
                progress(index, 1.0)
        return results

    def _voice(self, chunk: Chunk) -> NDArray[np.float32]:
        """The voice [channels, last - first]."""
        import torch
        from demucs.apply import apply_model

        rate, channels = chunk.audio.sample_rate_hz, chunk.audio.channels
        wide = chunk.audio.samples if channels == 2 else np.repeat(chunk.audio.samples.mean(axis=0)[None], 2, axis=0)  # noqa: PLR2004 - it wants stereo
        high = soxr.resample(np.ascontiguousarray(wide.T), rate, self._model.samplerate)
        mean, deviation = float(high.mean()), float(high.std()) + 1e-8
        tensor = torch.from_numpy(((high - mean) / deviation).T.astype(np.float32))[None]
        with torch.no_grad():
            found = apply_model(self._model, tensor, shifts=0, split=True, device=self._device)[0]
        vocals = found[self._model.sources.index("vocals")].cpu().numpy().T * deviation
        low = np.asarray(soxr.resample(np.ascontiguousarray(vocals), self._model.samplerate, rate), dtype=np.float32).T
        low = np.pad(low, ((0, 0), (0, max(0, chunk.last - low.shape[1]))))[:, chunk.first : chunk.last]
        voice: NDArray[np.float32] = low if channels == 2 else np.repeat(low.mean(axis=0)[None], channels, axis=0)  # noqa: PLR2004
        return voice
