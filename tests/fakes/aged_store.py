"""The local store in which all objects are as old as one likes: the file system's clock cannot be set back."""

from dataclasses import replace
from typing import Any

from audiomill.storage import ObjectInfo, ObjectStore, Page


class AgedStore:
    """Passes everything on. `young`: keys that were written just now."""

    def __init__(self, store: ObjectStore, *, days: float) -> None:
        self._store, self._seconds = store, days * 86_400
        self.young: set[str] = set()

    def stat(self, key: str) -> ObjectInfo:
        """With the age."""
        return self._aged(self._store.stat(key))

    def list_page(self, prefix: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """With the ages."""
        page = self._store.list_page(prefix, after=after, limit=limit)
        return replace(page, objects=tuple(self._aged(info) for info in page.objects))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _aged(self, info: ObjectInfo) -> ObjectInfo:
        return info if info.key in self.young else replace(info, age_seconds=self._seconds)
