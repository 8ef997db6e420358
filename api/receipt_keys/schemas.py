"""Bodies of the receipt-key endpoint."""

from pydantic import BaseModel, ConfigDict, Field


class ReceiptKey(BaseModel):
    """A public key whose receipts are accepted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key_id": "3f9a0c1d2b4e5f60",
                    "algorithm": "Ed25519",
                    "public_key": "-----BEGIN PUBLIC KEY-----\n"
                    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
                }
            ]
        }
    )

    key_id: str = Field(description="as it stands in receipts")
    algorithm: str = "Ed25519"
    public_key: str = Field(description="PEM, SubjectPublicKeyInfo")


class ReceiptKeys(BaseModel):
    """All keys whose receipts are accepted: the one that signs now, and retired ones."""

    keys: list[ReceiptKey]
