"""Receipt keys: the public keys that receipts are verified with."""
