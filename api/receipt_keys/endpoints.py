"""GET /v1/receipt-keys: without a key, for whoever holds a receipt may check it."""

from fastapi import APIRouter

from api.answers import problems
from api.dependencies import ServicesDep
from api.receipt_keys.schemas import ReceiptKey, ReceiptKeys
from audiomill.receipts.keys import public_keys

router = APIRouter(prefix="/v1/receipt-keys", tags=["receipts"])


@router.get("", responses=problems())
def list_receipt_keys(services: ServicesDep) -> ReceiptKeys:
    """The public keys that receipts are verified with. Never take a key from the receipt itself."""
    found = public_keys(services.settings)
    return ReceiptKeys(keys=[ReceiptKey(key_id=key_id, public_key=pem) for key_id, pem in found.items()])
