"""Choosing the object store by the settings. No behaviour of its own."""

import secrets
from pathlib import Path

from audiomill.errors import ConfigurationError
from audiomill.settings import Settings
from audiomill.storage.key_files import made_once
from audiomill.storage.local import LocalStore
from audiomill.storage.store import ObjectStore


def local_root(settings: Settings) -> Path:
    """The local store's directory; the drop folder is `inbox` below it."""
    return settings.data_dir / "store"


def open_store(settings: Settings) -> ObjectStore:
    """The store of this installation. Asks the network nothing; `ready()` does. Raises ConfigurationError."""
    if settings.storage.kind == "s3":
        from audiomill.storage.s3 import S3Store  # noqa: PLC0415 - boto3 costs 0.3 s, and a local store needs none

        try:
            return S3Store(settings.storage)
        except ValueError as error:
            # boto3's word for an address, region or name that is none.
            raise ConfigurationError(f"The settings AUDIOMILL_STORAGE__… make no S3 client: {error}.") from error
    return LocalStore(local_root(settings), secret=_secret(settings), public_url=settings.api_url)


def _secret(settings: Settings) -> str:
    if settings.secret is not None:
        return settings.secret.get_secret_value()
    return made_once(settings.data_dir / "keys" / "url-secret", lambda: secrets.token_hex(32).encode()).decode().strip()
