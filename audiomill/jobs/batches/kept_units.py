"""Results of units that are kept beside those of items, so that who works on an item again finds what was done.

They are artifacts that no item refers to: their workspace's, counted as what it keeps, gone some days after they were
last looked for (retention/artifacts.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.database.tables import Artifact
from audiomill.jobs.batches.leases import Claim, fenced


@dataclass(frozen=True)
class UnitRecord:
    """A unit's result in the store. `key` says what it was made from and how."""

    key: str
    object_key: str
    sha256: str
    size_bytes: int


def find_units(session: Session, keys: Collection[str]) -> dict[str, str]:
    """Where those of these makings lie that are there, by key. That they were asked for is noted."""
    # Locked in one order, so that two that look for the same cannot wait for each other in a circle.
    found = session.execute(
        text(
            "WITH known AS MATERIALIZED (SELECT key FROM artifacts WHERE key = ANY(:keys) ORDER BY key "
            "FOR NO KEY UPDATE) UPDATE artifacts SET used_at = clock_timestamp() WHERE key IN (SELECT key FROM known) "
            "RETURNING key, object_key"
        ),
        {"keys": sorted(keys)},
    ).all()
    return {row.key: row.object_key for row in found}


def keep_units(session: Session, claim: Claim, workspace_id: str, records: Sequence[UnitRecord]) -> None:
    """Note results of units. Raises LeaseLost."""
    fenced(session, claim)
    rows = [
        {
            "key": record.key,
            "workspace_id": workspace_id,
            "stage": claim.stage,
            "object_key": record.object_key,
            "sha256": record.sha256,
            "size_bytes": record.size_bytes,
            "details": {"unit": True},
        }
        for record in sorted(records, key=lambda each: each.key)
    ]
    session.execute(insert(Artifact).on_conflict_do_nothing(index_elements=["key"]), rows)
