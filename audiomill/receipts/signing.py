"""Writing receipts. The file is canonical JSON (RFC 8785), so one receipt has one sequence of bytes."""

import base64

import rfc8785

from audiomill.receipts.body import ReceiptBody
from audiomill.receipts.keys import SigningKey

ALGORITHM = "Ed25519"


def sign(body: ReceiptBody, key: SigningKey) -> bytes:
    """The receipt file: the body, whose key signed it, and the signature over the body's canonical JSON.

    Raises ValueError for parameters that JSON cannot hold exactly: NaN, infinity, integers beyond 2^53.
    """
    receipt = body.model_dump(mode="json")
    try:
        signature = key.private.sign(rfc8785.dumps(receipt))
        return rfc8785.dumps(
            {
                "algorithm": ALGORITHM,
                "key_id": key.key_id,
                "receipt": receipt,
                "signature": base64.b64encode(signature).decode(),
            }
        )
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"the receipt's parameters cannot be written as canonical JSON: {error}") from error
