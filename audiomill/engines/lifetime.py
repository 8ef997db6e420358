"""How long a loaded model lives: loaded once per process, shared by all who use it, let go when the last one leaves.

Not here: which engine to use, and how it uses the machine.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from audiomill.catalogue.engines import EngineEntry
from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.protocol import Engine
from audiomill.engines.registry import build
from audiomill.settings import Settings

_Key = tuple[str, str | None, ResourceClass]


@dataclass
class _Loaded:
    """One model and its users. `lock` is held while it is loaded or closed, so that nobody gets half of it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    engine: Engine | None = None
    users: int = 0


class Models:
    """The loaded models of this process. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._loaded: dict[_Key, _Loaded] = {}

    @contextmanager
    def use(self, entry: EngineEntry, model: str | None, resource_class: ResourceClass) -> Iterator[Engine]:
        """The engine with that model loaded, for as long as the block lasts.

        The first user loads it while others of the same model wait; another model is not held up. The last user's
        leaving closes it. When loading fails the error is raised (EngineUnavailable, ConfigurationError) and the next
        user tries anew.
        """
        key = (entry.name, model, resource_class)
        with self._lock:
            loaded = self._loaded.setdefault(key, _Loaded())
            loaded.users += 1
        try:
            yield self._engine(loaded, entry, model, resource_class)
        finally:
            self._leave(loaded)

    def _engine(self, loaded: _Loaded, entry: EngineEntry, model: str | None, resource_class: ResourceClass) -> Engine:
        with loaded.lock:
            if loaded.engine is None:
                engine = build(entry, self._settings)
                try:
                    engine.load(model, resource_class)
                except BaseException:
                    engine.close()  # a half-loaded model must not stay
                    raise
                loaded.engine = engine
            return loaded.engine

    def _leave(self, loaded: _Loaded) -> None:
        with self._lock:
            loaded.users -= 1
            if loaded.users:
                return
        # Whoever comes from here on waits for the lock, and loads anew: two copies might not fit into memory.
        with loaded.lock:
            with self._lock:
                wanted = loaded.users > 0
            if not wanted and loaded.engine is not None:
                engine, loaded.engine = loaded.engine, None
                engine.close()
