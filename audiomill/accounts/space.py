"""How much a workspace keeps in the store, how much it may, and refusing what is more.

Counted are recordings, uploads that no order named yet (as announced), results of stages and outputs, each by its row:
triggers (migration 0012) write every change into `usage_changes`, in the transaction that makes it. Changes are only
added there, so no completion waits for another; a sweep folds them into `workspace_usage`. Their sum is exact.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from audiomill.accounts.workspaces import get_workspace
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact
from audiomill.errors import BadRequest, NotFound, QuotaExceeded
from audiomill.formats import size_shown
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

MOST_FOLDED = 100_000
"""Changes in one fold: some seconds. A workspace's own are summed up at each of its orders until then."""

_LOCK = 7_236_120_005
"""Of folding and counting anew: what one of them has not seen, the other must not overwrite."""

KEPT_BYTES = """(
    coalesce((SELECT bytes FROM workspace_usage WHERE workspace_id = workspaces.id), 0)
    + coalesce((SELECT sum(bytes) FROM usage_changes WHERE workspace_id = workspaces.id), 0)
)"""
"""Of a row of `workspaces`: the one place that says how the sum is read."""

_SPACES = text(
    f"""
    SELECT id, allowed_bytes, {KEPT_BYTES} AS kept_bytes
    FROM workspaces WHERE CAST(:ids AS text[]) IS NULL OR id = ANY(:ids) ORDER BY id
    """  # noqa: S608 - a statement of our own
)
_FOLD = text(
    """
    WITH folded AS (
        DELETE FROM usage_changes WHERE id IN (SELECT id FROM usage_changes ORDER BY id LIMIT :most)
        RETURNING workspace_id, bytes
    )
    INSERT INTO workspace_usage (workspace_id, bytes)
    SELECT workspaces.id, sum(folded.bytes)
    FROM folded JOIN workspaces ON workspaces.id = folded.workspace_id GROUP BY 1
    ON CONFLICT (workspace_id) DO UPDATE SET bytes = workspace_usage.bytes + excluded.bytes
    """
)
# One statement, so that what is counted and which changes are forgotten is seen in the same moment.
_RECOUNT = text(
    """
    WITH kept (workspace_id, bytes) AS (
        SELECT workspace_id, size_bytes FROM recordings
        UNION ALL SELECT workspace_id, size_bytes FROM uploads WHERE NOT ordered
        UNION ALL SELECT workspace_id, size_bytes FROM artifacts
        UNION ALL SELECT jobs.workspace_id, outputs.size_bytes FROM outputs JOIN jobs ON jobs.id = outputs.job_id
    ), forgotten AS (DELETE FROM usage_changes)
    INSERT INTO workspace_usage (workspace_id, bytes)
    SELECT workspaces.id, coalesce(sum(kept.bytes), 0)
    FROM workspaces LEFT JOIN kept ON kept.workspace_id = workspaces.id GROUP BY 1
    ON CONFLICT (workspace_id) DO UPDATE SET bytes = excluded.bytes
    """
)


@dataclass(frozen=True)
class Space:
    """What a workspace keeps and may keep."""

    workspace_id: str
    kept_bytes: int
    allowed_bytes: int

    @classmethod
    def of(cls, workspace_id: str, kept_bytes: int, allowed_bytes: int | None, settings: Settings) -> "Space":
        """What was read of it; without a bound of its own it has the installation's."""
        return cls(
            workspace_id, kept_bytes, settings.limits.workspace_bytes if allowed_bytes is None else allowed_bytes
        )

    @property
    def room_bytes(self) -> int:
        """What may still come. Below zero where what was under way, or a new bound, went past it."""
        return self.allowed_bytes - self.kept_bytes


def spaces(session: Session, settings: Settings, workspace_ids: Collection[str] | None = None) -> list[Space]:
    """The space of these workspaces, by default of all; of those that there are."""
    rows = session.execute(_SPACES, {"ids": None if workspace_ids is None else list(workspace_ids)})
    return [Space.of(row.id, int(row.kept_bytes), row.allowed_bytes, settings) for row in rows]


def space_of(session: Session, workspace_id: str, settings: Settings) -> Space:
    """The space of one. Raises NotFound."""
    for space in spaces(session, settings, [workspace_id]):
        return space
    raise NotFound(f"There is no workspace {workspace_id[:80]!r}.", code="workspace_not_found")


def refuse_if_full(session: Session, workspace_id: str, brought_bytes: int, settings: Settings) -> None:
    """Raises QuotaExceeded (`workspace_full`) when so much more is too much.

    Two at the same moment may both be the last one, and outputs come on top: no lock is worth that.
    """
    refuse_if_too_much(space_of(session, workspace_id, settings), brought_bytes, settings)


def refuse_if_too_much(space: Space, brought_bytes: int, settings: Settings) -> None:
    """The same, where the space is known."""
    if brought_bytes > space.room_bytes:
        raise full(space, brought_bytes, settings)


def full(space: Space, brought_bytes: int, settings: Settings) -> QuotaExceeded:
    """The refusal."""
    more = f", and this brings {size_shown(brought_bytes)} more" if brought_bytes else ""
    return QuotaExceeded(
        f"This workspace keeps {size_shown(space.kept_bytes)} of the {size_shown(space.allowed_bytes)} that it may keep"
        f"{more}. Uploads that nobody orders go {settings.retention.upload_days} days after their URLs expired; for "
        "more room at once, ask whoever runs this installation to allow it, or to keep old jobs for a shorter time.",
        code="workspace_full",
    )


def allow(session: Session, workspace_id: str, allowed_bytes: int | None) -> None:
    """Bound what the workspace may keep; None: by the installation's setting. Raises NotFound, BadRequest."""
    if allowed_bytes is not None and allowed_bytes < 0:
        raise BadRequest("Allow no bytes at least.", code="bad_bound")
    get_workspace(session, workspace_id).allowed_bytes = allowed_bytes
    session.flush()


def fold(session: Session) -> None:
    """Fold changes into the sums, unless another does so just now."""
    if session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
        session.execute(_FOLD, {"most": MOST_FOLDED})


def recount(session: Session) -> None:
    """Count anew what all workspaces keep: for when rows were changed past the triggers. Reads all rows."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    session.execute(_RECOUNT)


def measure_results(database: Database, store: ObjectStore, *, page: int = 500) -> int:
    """Note the sizes of results that were made before sizes were noted; how many. One that is gone has none."""
    after, measured = "", 0
    while True:
        with database.session() as session:
            rows = session.execute(
                select(Artifact.key, Artifact.object_key)
                .where(Artifact.size_bytes.is_(None), Artifact.key > after)
                .order_by(Artifact.key)
                .limit(page)
            ).all()
        if not rows:
            return measured
        sizes = {row.key: _size_bytes(store, row.object_key) for row in rows}
        with database.session() as session:
            for key, size_bytes in sizes.items():
                session.execute(update(Artifact).where(Artifact.key == key).values(size_bytes=size_bytes))
        after, measured = rows[-1].key, measured + len(rows)


def _size_bytes(store: ObjectStore, key: str) -> int:
    try:
        return store.stat(key).size_bytes
    except NotFound:
        return 0
