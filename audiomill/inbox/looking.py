"""Looking at a page of the inbox: what is in its place and can be ordered, what is to be said of the rest.

A file that has a manifest, or is named by one, is ordered as that says, and by nothing else. Each object is looked at
once a sweep; what of it was said already, and what is written, is the sweep's part.
"""

import hashlib
import traceback
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy.orm import Session

from audiomill.accounts.space import Space, full, spaces
from audiomill.catalogue.capabilities import capability
from audiomill.catalogue.recipes import RECIPES, recipe
from audiomill.errors import (
    BadRequest,
    CustomerError,
    DatabaseUnavailable,
    EngineUnavailable,
    LimitExceeded,
    NotFound,
    QuotaExceeded,
)
from audiomill.inbox.bundles import Bundles, StillWritten, manifests_of
from audiomill.inbox.entries import NEW, Entry, Note, known_entries
from audiomill.inbox.manifests import Manifest, file_of, is_manifest, manifest_of, read_manifest
from audiomill.inbox.orders import HELD, Found, Present
from audiomill.jobs.availability import EngineView, table
from audiomill.jobs.inputs import display_name
from audiomill.jobs.resolving import frozen
from audiomill.jobs.submission import recording_too_large
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, ObjectStore, Page
from audiomill.storage.keys import INBOX

log = structlog.get_logger(__name__)

MOST_READ_BYTES = 2 * 1024**3
"""Files read in one page: SHA-256 takes some 3 s for so many, a slow disk 20 s, and a sensor's tick may last 60."""

_FAILED = "audiomill could not take it. That is no fault of the file, and it is tried again every minute."
_INPUT_ALONE = (
    "It is an input of what {name!r} orders. Written anew, it alone is no order: set the manifest's time (touch) to "
    "order it again."
)


@dataclass(frozen=True)
class Circumstances:
    """What the database says of a page: entries (of manifests beside it too), workspaces and their space, engines.

    unserved: recipes that no engine does; needs: those that a file alone does not order. Each with why.
    """

    known: dict[str, Entry]
    workspaces: dict[str, Space]
    engines: Sequence[EngineView]
    unserved: dict[str, str]
    needs: dict[str, str]


class _Enough(Exception):
    """What comes next is too much to read within this page."""


def circumstances_of(session: Session, infos: Sequence[ObjectInfo], settings: Settings) -> Circumstances:
    """One query where nothing on the page is new."""
    known = known_entries(session, [info.key for info in infos])
    new = [info for info in infos if not known.get(info.key, NEW).settles(info)]
    if not new:
        return Circumstances(known, {}, (), {}, {})
    beside = {manifest_of(info.key) for info in new if not is_manifest(info.key)}
    beside |= {named_by for info in new if (named_by := known.get(info.key, NEW).named_by) is not None}
    known |= known_entries(session, sorted(beside - known.keys()))
    named = {info.key.removeprefix(INBOX).partition("/")[0] for info in new}
    workspaces = {space.workspace_id: space for space in spaces(session, settings, named)}
    engines = table(session)
    unserved: dict[str, str] = {}
    needs: dict[str, str] = {}
    for name in {parts[2] for info in new if len(parts := info.key.split("/")) > 3} & RECIPES.keys():  # noqa: PLR2004 - as in _place
        first = capability(RECIPES[name].capability).roles[0]
        try:
            frozen(engines, name, {}, {first.name: 1})
        except EngineUnavailable as error:
            unserved[name] = error.message
        except CustomerError as error:
            needs[name] = error.message
    return Circumstances(known, workspaces, engines, unserved, needs)


@dataclass
class Look:
    """A page looked at: what is in its place, what is to be said of the rest, and where what was not come to begins."""

    next_after: str | None
    looked_at: int = 0
    waiting: int = 0
    found: list[Found] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    found_bytes: Counter[str] = field(default_factory=Counter)  # by workspace
    read_bytes: int = 0
    tried: set[str] = field(default_factory=set)  # manifests
    ordered: set[str] = field(default_factory=set)  # what they order


def look_at(store: ObjectStore, page: Page, bundles: Bundles, circumstances: Circumstances, settings: Settings) -> Look:
    """Find what is to be taken, and its versions. Raises what ends a page: StorageUnavailable, DatabaseUnavailable."""
    return _Looking(store, page, bundles, circumstances, settings).all()


class _Looking:
    """One page being looked at."""

    def __init__(
        self, store: ObjectStore, page: Page, bundles: Bundles, circumstances: Circumstances, settings: Settings
    ) -> None:
        self._store, self._page, self._bundles = store, page, bundles
        self._circumstances, self._settings = circumstances, settings
        self._known = circumstances.known
        self._look = Look(next_after=page.next_after)

    def all(self) -> Look:
        look, objects = self._look, self._page.objects
        for info in manifests_of(self._page):
            manifest = self._known.get(info.key, NEW)
            # One that is still being written, too: it need not be whole to keep what it names.
            if not manifest.settles(info) and not manifest.rests(info):
                self._guarded(info, lambda info=info: self._bundles.claim(info))  # type: ignore[misc]  # bound now
        for place, info in enumerate(objects):
            try:
                self._one(info, self._known.get(info.key, NEW))
            except _Enough:
                if look.next_after is not None or place:
                    look.next_after = objects[place - 1].key
                look.again += [later.key for later in objects[place:]]
                break
            look.looked_at += 1
        return look

    def _one(self, info: ObjectInfo, entry: Entry) -> None:
        look = self._look
        if entry.settles(info):
            return
        if entry.knows_by_tag(info):
            look.notes.append(Note(info, "submitted", version=info.version))
        elif info.settled_seconds < self._settings.inbox.settle_seconds or entry.delays(info):
            look.waiting += 1
            look.again.append(info.key)
        elif is_manifest(info.key):
            self._try(info, anew=False)
        else:
            self._guarded(info, lambda: self._file(info, entry))

    def _guarded(self, info: ObjectInfo, looking: Callable[[], None]) -> None:
        """Whatever one object does to us is said of it, and the others go on."""
        look = self._look
        try:
            looking()
        except NotFound:
            # Gone between listing and reading: there is nothing to take, and nothing to say to anyone.
            return
        except StillWritten:
            look.waiting += 1
            look.again.append(info.key)
        except (EngineUnavailable, QuotaExceeded) as error:
            look.waiting += 1
            look.notes.append(Note(info, "waiting", reason=error.message))
        except CustomerError as error:
            # Looked at anew with each sweep, since its workspace may be made, or the limit raised, later; said once.
            look.notes.append(Note(info, "rejected", reason=error.message))
        except (_Enough, DatabaseUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one object does to us, the others go on
            self._store.ready()  # raises where it is the store that is away, and not this object alone
            look.waiting += 1
            look.notes.append(failed(info, self._known.get(info.key, NEW), error))

    def _file(self, info: ObjectInfo, entry: Entry) -> None:
        workspace_id, recipe_name = _place(info.key, self._circumstances.workspaces)
        manifest = self._bundles.owner(info, entry)
        if manifest is not None:
            self._by_manifest(info, entry, manifest)
            return
        self._refuse_too_large(info)
        if (lacks := self._circumstances.unserved.get(recipe_name)) is not None:
            # Before it is read: it may wait for days, and a sweep comes by every few seconds.
            raise EngineUnavailable(lacks)
        if (needs := self._circumstances.needs.get(recipe_name)) is not None:
            self._without_manifest(info, needs)
            return
        self._refuse_without_room(workspace_id, info.size_bytes)
        (present,) = self._present([(None, info)])
        self._look.found_bytes[workspace_id] += info.size_bytes
        self._look.found.append(Found(info, workspace_id, recipe_name, present.version))

    def _without_manifest(self, info: ObjectInfo, needs: str) -> None:
        name = display_name(manifest_of(info.key))
        how = f"Put a manifest beside it, {name!r}, that says so, or name it as an input in another file's."
        if info.age_seconds < self._settings.inbox.manifest_seconds:
            self._look.waiting += 1
            self._look.notes.append(Note(info, "waiting", reason=f"It waits: {needs} {how}"))
            return
        raise BadRequest(f"It was not ordered: {needs} {how}", code="manifest_missing")

    def _by_manifest(self, info: ObjectInfo, entry: Entry, manifest: ObjectInfo) -> None:
        """A file with a manifest, or named by one."""
        said = self._known.get(manifest.key, NEW)
        known = entry.signature == info.signature
        is_lead = manifest.key == manifest_of(info.key)
        if said.settles(manifest) and known:
            return
        if said.settles(manifest) and said.outcome == "submitted" and not is_lead:
            (present,) = self._present([(None, info)])
            reason = _INPUT_ALONE.format(name=display_name(manifest.key))
            self._look.notes.append(Note(info, "submitted", present.version, reason, named_by=manifest.key))
            return
        self._try(manifest, anew=not known)
        if info.key not in self._look.ordered:
            self._look.waiting += 1
            reason = HELD.format(name=display_name(manifest.key))
            self._look.notes.append(Note(info, "waiting", reason=reason, named_by=manifest.key))

    def _try(self, manifest: ObjectInfo, *, anew: bool) -> None:
        """Take what a manifest orders, once a page. anew: something of it came that was not there before."""
        if manifest.key in self._look.tried:
            return
        if manifest.settled_seconds < self._settings.inbox.settle_seconds:
            self._look.waiting += 1
            self._look.again.append(manifest.key)
        elif not anew and self._known.get(manifest.key, NEW).rests(manifest):
            self._look.waiting += 1
        else:
            self._look.tried.add(manifest.key)
            self._guarded(manifest, lambda: self._manifest(manifest))

    def _manifest(self, info: ObjectInfo) -> None:
        workspace_id, recipe_name = _place(info.key, self._circumstances.workspaces)
        data, version = self._bundles.read(info)
        keys: list[str] = []
        try:
            manifest = read_manifest(info.key, data)
            keys += [key for _, key in manifest.inputs]
            named = self._named(info, recipe_name, manifest)
        except (EngineUnavailable, LimitExceeded):
            self._hold(info, keys)
            raise
        except CustomerError as error:
            # It is wrong as it is: nothing but another writing of it mends that.
            self._look.notes.append(Note(info, "rejected", version=version, reason=error.message))
            self._hold(info, keys)
            return
        members = [(role, self._bundles.info(key)) for role, key in named]
        there = [(role, member) for role, member in members if member is not None]
        if len(there) < len(members):
            self._incomplete(info, [key for _, key in named])
            return
        if any(member.settled_seconds < self._settings.inbox.settle_seconds for _, member in there):
            self._look.waiting += 1
            self._look.again.append(info.key)
            return
        size_bytes = sum(member.size_bytes for _, member in there)
        try:
            for _, member in there:
                self._refuse_too_large(member)
            self._refuse_without_room(workspace_id, size_bytes)
        except CustomerError:
            self._hold(info, keys)
            raise
        first, *others = self._present(there)
        self._look.found_bytes[workspace_id] += size_bytes
        self._look.ordered |= {member.key for _, member in there}
        self._look.found.append(
            Found(
                first.info, workspace_id, recipe_name, first.version, Present(info, version), manifest.parameters,
                tuple(others),
            )
        )  # fmt: skip

    def _named(self, info: ObjectInfo, recipe_name: str, manifest: Manifest) -> list[tuple[str | None, str]]:
        """All inputs, the recipe's first in front. Raises CustomerError for what cannot be ordered so."""
        first = capability(recipe(recipe_name).capability).roles[0].name
        beside = file_of(info.key)
        named: list[tuple[str | None, str]] = [*manifest.inputs]
        if any(role == first for role, _ in named):
            if not beside.endswith("/") and self._bundles.info(beside) is not None:
                raise BadRequest(
                    f"It lies beside {display_name(beside)!r} and names another {first!r}. Leave that out, or give the "
                    "manifest a name of its own.",
                    code="bad_manifest",
                )
            named.sort(key=lambda each: each[0] != first)
        elif beside.endswith("/"):
            raise BadRequest(
                "It lies beside no file. Call it as its file, with .job.json after it.", code="bad_manifest"
            )
        else:
            named.insert(0, (None, beside))
        frozen(
            self._circumstances.engines, recipe_name, manifest.parameters, Counter(role or first for role, _ in named)
        )
        return named

    def _incomplete(self, info: ObjectInfo, keys: Sequence[str]) -> None:
        """Some of what it names is not there (yet): that waits, and so does the rest; after a time it is refused."""
        absent = [key for key in keys if self._bundles.info(key) is None]
        folder = info.key.rpartition("/")[0] + "/"
        names = ", ".join(repr(key.removeprefix(folder)) for key in absent)
        late = info.age_seconds >= self._settings.inbox.manifest_seconds
        reason = (
            f"{'It was not ordered, for these are' if late else 'It waits for what is'} not there: {names}. Put it "
            "beside the manifest. A manifest is called as its file, with .job.json after the whole name."
        )
        self._look.waiting += 1
        self._look.notes.append(Note(info, "rejected" if late else "waiting", reason=reason))
        self._hold(info, keys)

    def _hold(self, info: ObjectInfo, keys: Sequence[str]) -> None:
        """What a manifest names is no job of its own while that is not ordered, nor when it comes later."""
        name = display_name(info.key)
        for key in keys:
            member = self._bundles.info(key)
            reason = HELD.format(name=name) if member else f"It is not there yet, and {name!r} names it."
            what = member or ObjectInfo(key, 0, "absent", 0.0)
            self._look.notes.append(Note(what, "waiting", reason=reason, named_by=info.key))

    def _present(self, members: Sequence[tuple[str | None, ObjectInfo]]) -> list[Present]:
        """Their versions; what must be read for it is. Raises _Enough, StillWritten."""
        to_read = sum(info.size_bytes for _, info in members if not self._bundles.is_read(info))
        if to_read and self._look.read_bytes and self._look.read_bytes + to_read > MOST_READ_BYTES:
            raise _Enough
        self._look.read_bytes += to_read
        return [Present(info, self._bundles.version(info), role) for role, info in members]

    def _refuse_too_large(self, info: ObjectInfo) -> None:
        if info.size_bytes > self._settings.limits.max_bytes:
            raise recording_too_large(display_name(info.key), info.size_bytes, self._settings)

    def _refuse_without_room(self, workspace_id: str, size_bytes: int) -> None:
        space = self._circumstances.workspaces[workspace_id]
        if size_bytes > space.room_bytes - self._look.found_bytes[workspace_id]:
            raise full(space, size_bytes, self._settings)


def failed(info: ObjectInfo, entry: Entry, error: Exception) -> Note:
    """The note of an object that could not be taken by no fault of its own. Logged when it is new, without its name."""
    if not entry.says(info, "failed"):
        where = traceback.extract_tb(error.__traceback__)[-1:]
        log.error(
            "an object of the inbox could not be taken",
            key_sha256=hashlib.sha256(info.key.encode()).hexdigest()[:16],
            error=type(error).__name__,
            at=f"{where[0].filename.rpartition('/')[2]}:{where[0].lineno}" if where else None,
        )
    return Note(info, "failed", reason=_FAILED)


def _place(key: str, workspaces: Container[str]) -> tuple[str, str]:
    parts = key.removeprefix(INBOX).split("/")
    if len(parts) < 3:  # noqa: PLR2004 - workspace, recipe, name
        raise BadRequest("Put files under inbox/<workspace>/<recipe>/.", code="bad_inbox_key")
    if any(part in {"", ".", ".."} for part in parts):
        raise BadRequest("The key has an empty part, '.' or '..'. Name each folder plainly.", code="bad_inbox_key")
    if parts[0] not in workspaces:
        raise BadRequest(
            f"There is no workspace {parts[0]!r}. The folder below inbox/ names the workspace.",
            code="workspace_not_found",
        )
    recipe(parts[1])
    return parts[0], parts[1]
