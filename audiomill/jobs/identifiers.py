"""Ids: a prefix that says what it is, then a ULID, so that they sort by time of making."""

from ulid import ULID


def new_id(prefix: str) -> str:
    """`job_01j…`: unique without asking the database."""
    return f"{prefix}_{str(ULID()).lower()}"
