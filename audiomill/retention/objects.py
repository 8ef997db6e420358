"""Objects that no row names: what dropped attempts and crashed runs left behind, files of retired batches, old tables.

An object is written before the row that names it, so a young one is left alone; and it is looked at again in the moment
of deleting, because what was left behind may be made anew under the same name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from audiomill.database.tables import Artifact, Batch, Job, Output, Recording, Revision, Upload
from audiomill.errors import NotFound
from audiomill.jobs.batches.reads import parts_of
from audiomill.jobs.inputs import hold_for_deletion
from audiomill.retention.sweeping import DAY_SECONDS, Freed, Ground, Sweep
from audiomill.settings import RetentionSettings
from audiomill.storage import keys

Wanted = Callable[[Session, Sequence[str]], set[str]]
"""Which of these objects are still named or may yet be. What is not of our making is wanted too."""


def _outputs(session: Session, found: Sequence[str]) -> set[str]:
    jobs = {key: keys.job_of_output(key) for key in found}
    ids = set(filter(None, jobs.values()))
    named = set(session.scalars(select(Output.object_key).where(Output.job_id.in_(ids))))
    at_work = set(session.scalars(select(Job.id).where(Job.id.in_(ids), Job.state.in_(("queued", "running")))))
    at_work |= set(session.scalars(select(Revision.job_id).where(Revision.job_id.in_(ids), Revision.state == "open")))
    return {key for key, job in jobs.items() if job is None or key in named or job in at_work}


def _artifacts(session: Session, found: Sequence[str]) -> set[str]:
    makings = {key: keys.making_of_artifact(key) for key in found}
    named = set()
    for artifact in session.scalars(select(Artifact).where(Artifact.key.in_(set(filter(None, makings.values()))))):
        named |= {artifact.object_key, *(part["object_key"] for part in parts_of(artifact).values())}
    return {key for key, making in makings.items() if making is None or key in named}


def _inputs(session: Session, found: Sequence[str]) -> set[str]:
    places = {key: keys.workspace_of_input(key) for key in found}
    pairs = [(workspace, key) for key, workspace in places.items() if workspace is not None]
    recorded = select(Recording.object_key).where(tuple_(Recording.workspace_id, Recording.object_key).in_(pairs))
    announced = select(Upload.object_key).where(Upload.object_key.in_(list(places)))
    named = {*session.scalars(recorded), *session.scalars(announced)}
    return {key for key, workspace in places.items() if workspace is None or key in named}


def _batches(session: Session, found: Sequence[str]) -> set[str]:
    batches = {key: keys.batch_of_file(key) for key in found}
    rows = select(Batch.id).where(Batch.id.in_(set(filter(None, batches.values()))), Batch.retired_at.is_(None))
    live = set(session.scalars(rows))
    return {key for key, batch in batches.items() if batch is None or batch in live}


def _nothing(_session: Session, _found: Sequence[str]) -> set[str]:
    return set()


@dataclass(frozen=True)
class _Place:
    """A sweep over all objects of a prefix that are old enough."""

    prefix: str
    wanted: Wanted
    days: Callable[[RetentionSettings], int]

    def __call__(self, ground: Ground, place: str | None) -> tuple[Freed, str | None]:
        page = ground.store.list_page(self.prefix, after=place, limit=ground.limit)
        youngest = self.days(ground.settings.retention) * DAY_SECONDS
        old = [info.key for info in page.objects if info.age_seconds > youngest]
        freed = Freed()
        if old:
            with ground.database.session() as session:
                wanted = self.wanted(session, old)
            for key in old:
                if key not in wanted:
                    freed += self._gone(ground, key, youngest)
        return freed, page.next_after

    def _gone(self, ground: Ground, key: str, youngest: float) -> Freed:
        workspace_id = keys.workspace_of_input(key) if self.prefix == keys.TEXTS else None
        if workspace_id is None:
            return ground.object_gone(key) if self._is_still_old(ground, key, youngest) else Freed()
        # A text has the same name whenever it is ordered: none is deleted that is ordered at this moment.
        with ground.database.session() as session:
            hold_for_deletion(session, workspace_id)
            if self.wanted(session, [key]) or not self._is_still_old(ground, key, youngest):
                return Freed()
            return ground.object_gone(key)

    @staticmethod
    def _is_still_old(ground: Ground, key: str, youngest: float) -> bool:
        try:
            return ground.store.stat(key).age_seconds > youngest
        except NotFound:
            return False


def _orphan_days(settings: RetentionSettings) -> int:
    return settings.orphan_days


def _table_days(settings: RetentionSettings) -> int:
    return settings.table_days


SWEEPS = (
    Sweep("outputs of dropped attempts", "at `orphan_days`", _Place(keys.OUTPUTS, _outputs, _orphan_days)),
    Sweep("results that no row names", "at `orphan_days`", _Place(keys.ARTIFACTS, _artifacts, _orphan_days)),
    Sweep("texts never ordered", "at `orphan_days`", _Place(keys.TEXTS, _inputs, _orphan_days)),
    Sweep("uploads that no row names", "at `orphan_days`", _Place(keys.UPLOADS, _inputs, _orphan_days)),
    Sweep("files of retired batches", "`partition_days` after their end", _Place(keys.BATCHES, _batches, _orphan_days)),
    Sweep("daily tables", "at `table_days`", _Place(keys.TABLES, _nothing, _table_days)),
)
