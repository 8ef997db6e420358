"""Checking a receipt against its output and the keys that are trusted. Nothing in the receipt is believed before.

In this order: the file is canonical and of the known form; the key is one of ours; the signature holds; the output is
the one that was signed. As the file must equal its own canonical form byte by byte, and the signature's base64 too,
there is no second spelling of a receipt: any changed byte is refused.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import rfc8785
from cryptography.exceptions import InvalidSignature
from pydantic import ValidationError

from audiomill.errors import BadInput
from audiomill.receipts.body import SCHEMA, ReceiptBody
from audiomill.receipts.keys import key_id, public_key
from audiomill.receipts.signing import ALGORITHM

MAX_BYTES = 1024 * 1024
"""Ours have about 2 KB; what is larger is not read."""


@dataclass(frozen=True)
class Verified:
    """A receipt whose signature holds and whose output is unchanged."""

    receipt: ReceiptBody
    key_id: str


def verify(receipt: bytes, output: bytes | Path, keys: Mapping[str, str]) -> Verified:
    """Check a receipt file against the output's bytes (or file) and the trusted public keys (key id to PEM).

    Raises BadInput with a code: `receipt_malformed`, `unknown_key`, `bad_signature`, `output_changed`,
    `output_missing`.
    """
    document = _document(receipt)
    signer = str(document["key_id"])
    _check_signature(document, signer, keys)
    try:
        body = ReceiptBody.model_validate(document["receipt"])
    except ValidationError as error:
        raise BadInput(
            f"The receipt is signed, but is not of the form {SCHEMA}. Use the release of audiomill that wrote it.",
            code="receipt_malformed",
        ) from error
    _check_output(body, output)
    return Verified(body, signer)


def _document(receipt: bytes) -> dict[str, Any]:
    if len(receipt) > MAX_BYTES:
        raise _malformed(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        document = json.loads(receipt.decode(), parse_int=_number, parse_constant=_no_constant)
        canonical = rfc8785.dumps(document)
    except (ValueError, RecursionError) as error:
        raise _malformed("it is not JSON") from error
    if canonical != receipt:
        raise _malformed("it is not in canonical form (RFC 8785), so it was changed after it was written")
    if not isinstance(document, dict) or document.keys() != {"algorithm", "key_id", "receipt", "signature"}:
        raise _malformed("it does not have the fields of a receipt")
    if document["algorithm"] != ALGORITHM:
        raise _malformed(f"its algorithm is not {ALGORITHM}")
    return document


def _check_signature(document: dict[str, Any], signer: str, keys: Mapping[str, str]) -> None:
    try:
        key = public_key(keys[signer])
    except (KeyError, ValueError) as error:
        raise _unknown(signer) from error
    if key_id(key) != signer:
        raise _unknown(signer)  # the list of keys was tampered with, or mixed up
    try:
        signature = base64.b64decode(str(document["signature"]).encode(), validate=True)
        if base64.b64encode(signature).decode() != document["signature"]:
            raise _malformed("its signature is not in canonical base64")
        key.verify(signature, rfc8785.dumps(document["receipt"]))
    except binascii.Error as error:
        raise _malformed("its signature is not base64") from error
    except InvalidSignature as error:
        raise BadInput(
            f"The receipt's signature does not fit: what it says was changed, or key {signer} did not sign it. "
            "Download the receipt again.",
            code="bad_signature",
        ) from error


def _check_output(body: ReceiptBody, output: bytes | Path) -> None:
    if isinstance(output, bytes):
        actual = hashlib.sha256(output).hexdigest()
    else:
        try:
            with output.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BadInput(
                f"The file {output.name!r} of this receipt cannot be read: {error.strerror}. "
                "Put it beside its receipt.",
                code="output_missing",
            ) from error
    if actual != body.output.sha256:
        raise BadInput(
            f"The file is not the one that the receipt was written for ({body.output.name}): its SHA-256 is {actual}, "
            f"the receipt says {body.output.sha256}. It was changed, or belongs to another receipt.",
            code="output_changed",
        )


def _number(text: str) -> int | float:
    # Canonical JSON writes the double 2^53 as an integer; beyond that, what is written is what a double holds.
    return int(text) if len(text) < 16 else float(text)  # noqa: PLR2004 - digits of 2^53


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _malformed(why: str) -> BadInput:
    return BadInput(f"This is not a receipt of audiomill: {why}. Download it again.", code="receipt_malformed")


def _unknown(signer: str) -> BadInput:
    return BadInput(
        f"The receipt is signed by the key {signer[:64]!r}, which is not trusted here. Get the public keys from the "
        "service that made it.",
        code="unknown_key",
    )
