"""The object store: one protocol, a local directory and S3. Key layout too. No database, no web framework."""

from audiomill.storage.factory import open_store
from audiomill.storage.store import LeftOut, ObjectInfo, ObjectStore, Page, SignedUrl

__all__ = ["LeftOut", "ObjectInfo", "ObjectStore", "Page", "SignedUrl", "open_store"]
