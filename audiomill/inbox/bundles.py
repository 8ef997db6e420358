"""Which objects of the inbox belong together by a manifest, asked of one page of it: nothing is decided here.

A manifest is read when it, or what it names, is new as it is; what is known and done costs nothing. Whatever is read is
read once a page, and is what was listed.
"""

import hashlib
from collections.abc import Mapping

from audiomill.errors import CustomerError, NotFound
from audiomill.inbox.entries import NEW, Entry
from audiomill.inbox.manifests import MOST_BYTES, Manifest, is_manifest, manifest_of, read_manifest
from audiomill.storage import ObjectInfo, ObjectStore, Page


class StillWritten(Exception):
    """The object changed while it was read."""


class Bundles:
    """The manifests about a page's objects. `listed`: the page is a part of a listing, begun after `after`."""

    def __init__(
        self, store: ObjectStore, page: Page, known: Mapping[str, Entry], *, after: str | None, listed: bool
    ) -> None:
        self._store, self._known = store, known
        self._listed = {info.key: info for info in page.objects}
        # S3's pages tell all that there is. A local walk may be older than its page, and looking costs nothing there.
        self._tells_all = listed and bool(page.objects) and page.objects[0].version is not None
        self._after, self._last = (after or "").encode(), page.next_after
        self._asked: dict[str, ObjectInfo | None] = {}
        self._read: dict[str, tuple[bytes, str]] = {}
        self._versions: dict[str, str] = {}
        self._claims: dict[str, str] = {}

    def info(self, key: str) -> ObjectInfo | None:
        """The object of that key; None where there is none. Raises BadRequest for one that cannot be read."""
        if key in self._listed:
            return self._listed[key]
        within = self._after < key.encode() and (self._last is None or key.encode() <= self._last.encode())
        if self._tells_all and within:
            return None
        if key not in self._asked:
            try:
                self._asked[key] = self._store.stat(key)
            except NotFound:
                self._asked[key] = None
        return self._asked[key]

    def read(self, info: ObjectInfo) -> tuple[bytes, str]:
        """A manifest's bytes (as many blanks of one too large), and its version. Raises NotFound, BadRequest,
        StillWritten.
        """
        if info.key not in self._read:
            data = b" " * (MOST_BYTES + 1) if info.size_bytes > MOST_BYTES else self._store.get_bytes(info.key)
            self._refuse_written(info)
            sha256 = hashlib.sha256(info.signature.encode() if info.size_bytes > MOST_BYTES else data).hexdigest()
            self._read[info.key] = (data, info.version or sha256)
        return self._read[info.key]

    def version(self, info: ObjectInfo) -> str:
        """The version of exactly what was listed. Raises NotFound, BadRequest, StillWritten."""
        if info.version is not None:
            return info.version
        if info.key not in self._versions:
            version = self._store.version(info.key)
            self._refuse_written(info)
            self._versions[info.key] = version
        return self._versions[info.key]

    def is_read(self, info: ObjectInfo) -> bool:
        """Whether its version costs nothing."""
        return info.version is not None or info.key in self._versions

    def claim(self, info: ObjectInfo) -> None:
        """What this manifest names is no job of its own, wherever in the page it comes."""
        try:
            for _, key in self._manifest(info).inputs:
                self._claims.setdefault(key, info.key)
        except (CustomerError, StillWritten):
            return  # said in its turn

    def owner(self, info: ObjectInfo, entry: Entry) -> ObjectInfo | None:
        """The manifest that says how this file is ordered; None: it stands for itself. Raises BadRequest."""
        for key in (self._claims.get(info.key), manifest_of(info.key)):
            if key is not None and (found := self.info(key)) is not None:
                return found
        named_by = self.info(entry.named_by) if entry.named_by is not None else None
        return named_by if named_by is not None and self._names(named_by, info, entry) else None

    def _names(self, manifest: ObjectInfo, info: ObjectInfo, entry: Entry) -> bool:
        said = self._known.get(manifest.key, NEW)
        if entry.says(info, "waiting") and said.signature == manifest.signature:
            # As it was: what it ordered it would not have left waiting.
            return said.outcome != "submitted"
        try:
            return any(key == info.key for _, key in self._manifest(manifest).inputs)
        except CustomerError:
            return False

    def _refuse_written(self, info: ObjectInfo) -> None:
        if self._store.stat(info.key).signature != info.signature:
            raise StillWritten

    def _manifest(self, info: ObjectInfo) -> Manifest:
        return read_manifest(info.key, self.read(info)[0])


def manifests_of(page: Page) -> list[ObjectInfo]:
    """Those among the page's objects."""
    return [info for info in page.objects if is_manifest(info.key)]
