"""Drafts: what a put that crashed left half written, on a disk or as parts of an upload to S3."""

from audiomill.retention.sweeping import DAY_SECONDS, Freed, Ground, Sweep


def _sweep(ground: Ground, place: str | None) -> tuple[Freed, str | None]:
    page = ground.store.drafts(after=place, limit=ground.limit)
    freed = Freed()
    for draft in page.drafts:
        if draft.age_seconds > ground.settings.retention.orphan_days * DAY_SECONDS:
            if not ground.dry_run:
                ground.store.discard(draft)
            freed += Freed(objects=1, size_bytes=draft.size_bytes)
    return freed, page.next_after


SWEEP = Sweep("drafts of writes that crashed", "at `orphan_days`", _sweep)
