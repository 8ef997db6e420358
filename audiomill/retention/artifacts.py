"""Results that no job refers to any more, some days after their last use.

Recall notes each use (`Artifact.used_at`, `working.find_artifact`) before it reads, so a result that a run is
about to refer to is young. Row and object go under the row's lock: a recall waits, finds nothing, and makes it anew.
"""

from sqlalchemy import exists, func, select

from audiomill.database.tables import Artifact, WorkItem
from audiomill.jobs.batches.reads import parts_of
from audiomill.retention.sweeping import Freed, Ground, Sweep


def _sweep(ground: Ground, place: str | None) -> tuple[Freed, str | None]:
    unused = (Artifact.used_at < func.now() - func.make_interval(0, 0, 0, ground.settings.retention.artifact_days)) & (
        ~exists().where(WorkItem.artifact_key == Artifact.key)
    )
    with ground.database.session() as session:
        page = session.execute(
            select(Artifact.key, unused.label("unused"))
            .where(Artifact.key > (place or ""))
            .order_by(Artifact.key)
            .limit(ground.limit)
        ).all()
    freed = Freed()
    for row in page:
        if row.unused:
            with ground.database.session() as session:
                artifact = session.scalar(select(Artifact).where(Artifact.key == row.key, unused).with_for_update())
                if artifact is not None:
                    files = {artifact.object_key, *(part["object_key"] for part in parts_of(artifact).values())}
                    for key in sorted(files):
                        freed += ground.object_gone(key)
                    freed += Freed(rows=1)
                    if not ground.dry_run:
                        session.delete(artifact)
    return freed, page[-1].key if len(page) == ground.limit else None


SWEEP = Sweep("results that no job refers to", "`artifact_days` after their last use", _sweep)
