"""What engines share that have one model loaded at a time: who they are while it is. Not part of any protocol."""

from audiomill.engines.protocol import EngineIdentity


class OfOneModel:
    """Base of such an engine; its `load` sets `_identity`, its `close` takes it away."""

    _identity: EngineIdentity | None = None

    @property
    def identity(self) -> EngineIdentity:
        """Package, model and the hash of its weights."""
        if self._identity is None:
            raise RuntimeError("load a model first")
        return self._identity
