"""Looking at a page of the inbox: what is in its place and can be ordered, what is to be said of the rest.

A file that has a manifest, or is named by one, is ordered as that says (by_manifest.py), and by nothing else. Each
object is looked at once a sweep; what of it was said already, and what is written, is the sweep's part.
"""

from audiomill.errors import BadRequest, EngineUnavailable
from audiomill.inbox.bundles import Bundles, manifests_of
from audiomill.inbox.by_manifest import ByManifest
from audiomill.inbox.circumstances import Circumstances, place_of
from audiomill.inbox.desk import Desk, Enough, Look
from audiomill.inbox.entries import Entry, Note
from audiomill.inbox.manifests import is_manifest, manifest_of
from audiomill.inbox.orders import Found
from audiomill.jobs.inputs import display_name
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, ObjectStore, Page


def look_at(store: ObjectStore, page: Page, bundles: Bundles, circumstances: Circumstances, settings: Settings) -> Look:
    """Find what is to be taken, and its versions. Raises what ends a page: StorageUnavailable, DatabaseUnavailable."""
    desk = Desk(store, bundles, circumstances, settings, next_after=page.next_after)
    _Looking(page, desk).all()
    return desk.look


class _Looking:
    """One page being looked at."""

    def __init__(self, page: Page, desk: Desk) -> None:
        self._page, self._desk, self._by_manifest = page, desk, ByManifest(desk)

    def all(self) -> None:
        look, objects = self._desk.look, self._page.objects
        for info in manifests_of(self._page):
            manifest = self._desk.entry(info.key)
            # One that is still being written, too: it need not be whole to keep what it names.
            if not manifest.settles(info) and not manifest.rests(info):
                self._desk.guarded(info, lambda info=info: self._desk.bundles.claim(info))  # type: ignore[misc]  # bound now
        for place, info in enumerate(objects):
            try:
                self._one(info, self._desk.entry(info.key))
            except Enough:
                if look.next_after is not None or place:
                    look.next_after = objects[place - 1].key
                look.again += [later.key for later in objects[place:]]
                break
            look.looked_at += 1

    def _one(self, info: ObjectInfo, entry: Entry) -> None:
        if entry.settles(info):
            return
        if entry.knows_by_tag(info):
            self._desk.look.notes.append(Note(info, "submitted", version=info.version))
        elif not self._desk.lies_still(info) or entry.delays(info):
            self._desk.look_again(info)
        elif is_manifest(info.key):
            self._by_manifest.order(info, anew=False)
        else:
            self._desk.guarded(info, lambda: self._file(info, entry))

    def _file(self, info: ObjectInfo, entry: Entry) -> None:
        workspace_id, recipe_name = place_of(info.key, self._desk.circumstances.workspaces)
        manifest = self._desk.bundles.owner(info, entry)
        if manifest is not None:
            self._by_manifest.file(info, entry, manifest)
            return
        self._desk.refuse_too_large(info)
        if (lacks := self._desk.circumstances.unserved.get(recipe_name)) is not None:
            # Before it is read: it may wait for days, and a sweep comes by every few seconds.
            raise EngineUnavailable(lacks)
        if (needs := self._desk.circumstances.needs.get(recipe_name)) is not None:
            self._without_manifest(info, needs)
            return
        self._desk.refuse_without_room(workspace_id, info.size_bytes)
        (present,) = self._desk.present([(None, info)])
        self._desk.take(Found(info, workspace_id, recipe_name, present.version), info.size_bytes)

    def _without_manifest(self, info: ObjectInfo, needs: str) -> None:
        name = display_name(manifest_of(info.key))
        how = f"Put a manifest beside it, {name!r}, that says so, or name it as an input in another file's."
        if info.age_seconds < self._desk.settings.inbox.manifest_seconds:
            self._desk.wait(info, f"It waits: {needs} {how}")
            return
        raise BadRequest(f"It was not ordered: {needs} {how}", code="manifest_missing")
