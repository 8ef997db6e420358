"""The Ed25519 keys of receipts: this installation's own, and the public ones that it trusts. No receipts here."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from audiomill.errors import ConfigurationError
from audiomill.settings import Settings
from audiomill.storage.key_files import made_once


@dataclass(frozen=True)
class SigningKey:
    """The key that signs. `key_id` is the first 16 hex digits of the SHA-256 of the raw public key."""

    key_id: str
    public_pem: str
    private: Ed25519PrivateKey

    @classmethod
    def from_pem(cls, pem: bytes, origin: str) -> "SigningKey":
        """From an unencrypted PKCS#8 PEM. Raises ConfigurationError that names `origin`."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:  # TypeError: it is encrypted
            raise ConfigurationError(f"{origin} is not an unencrypted private key in PEM: {error}.") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigurationError(f"{origin} is not an Ed25519 key. Make one: openssl genpkey -algorithm ed25519.")
        public = private.public_key()
        return cls(key_id(public), _pem(public), private)


def key_id(public: Ed25519PublicKey) -> str:
    """First 16 hex digits of the SHA-256 of the raw 32 bytes."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def public_key(pem: str) -> Ed25519PublicKey:
    """Raises ValueError for what is not an Ed25519 public key in PEM."""
    try:
        key = load_pem_public_key(pem.encode())
    except Exception as error:
        raise ValueError(f"not a public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004 - the PEM is wrong, not its type
    return key


def signing_key(settings: Settings) -> SigningKey:
    """This installation's: `receipt_key_file`, or one made once under <data_dir>/keys. Raises ConfigurationError."""
    if settings.receipt_key_file is not None:
        try:
            pem = settings.receipt_key_file.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"The receipt key {settings.receipt_key_file} cannot be read: {error.strerror}."
            ) from error
        return SigningKey.from_pem(pem, str(settings.receipt_key_file))
    path = own_key_path(settings)
    return SigningKey.from_pem(made_once(path, _new_private_pem), str(path))


def own_key_path(settings: Settings) -> Path:
    """Where the key that is made once lies."""
    return settings.data_dir / "keys" / "receipt-ed25519.pem"


def public_keys(settings: Settings) -> dict[str, str]:
    """Public keys (PEM) by key id whose receipts are accepted: our own and `trusted_receipt_keys`/*.pem."""
    own = signing_key(settings)
    keys = {own.key_id: own.public_pem}
    if settings.trusted_receipt_keys is not None:
        keys |= _folder_keys(settings.trusted_receipt_keys)
    return keys


def _folder_keys(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise ConfigurationError(f"The folder of trusted receipt keys {folder} does not exist.")
    keys = {}
    for path in sorted(folder.glob("*.pem")):
        try:
            public = public_key(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            # Loud, not left out: an operator who put a key there counts on it.
            raise ConfigurationError(f"The trusted receipt key {path} cannot be used: {error}.") from error
        keys[key_id(public)] = _pem(public)
    return keys


def _pem(public: Ed25519PublicKey) -> str:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _new_private_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
