"""Receipts: what was made how; signing and verifying. No HTTP, no Dagster."""

from audiomill.receipts.body import (
    CheckPart,
    EnginePart,
    InputPart,
    OutputPart,
    ReadPart,
    ReceiptBody,
    StepPart,
)
from audiomill.receipts.keys import SigningKey, public_keys, signing_key
from audiomill.receipts.signing import sign
from audiomill.receipts.verifying import Verified, verify

__all__ = [
    "CheckPart",
    "EnginePart",
    "InputPart",
    "OutputPart",
    "ReadPart",
    "ReceiptBody",
    "SigningKey",
    "StepPart",
    "Verified",
    "public_keys",
    "sign",
    "signing_key",
    "verify",
]
