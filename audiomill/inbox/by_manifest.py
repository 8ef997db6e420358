"""What manifests order: the file beside one, or named by it, with all that it names; and what waits meanwhile."""

from collections import Counter
from collections.abc import Sequence

from audiomill.catalogue.capabilities import capability
from audiomill.catalogue.recipes import recipe
from audiomill.errors import BadRequest, CustomerError, EngineUnavailable, LimitExceeded
from audiomill.inbox.circumstances import place_of
from audiomill.inbox.desk import Desk
from audiomill.inbox.entries import Entry, Note
from audiomill.inbox.manifests import Manifest, file_of, manifest_of, read_manifest
from audiomill.inbox.orders import HELD, Found, Present
from audiomill.jobs.inputs import display_name
from audiomill.jobs.resolving import frozen
from audiomill.storage import ObjectInfo

_INPUT_ALONE = (
    "It is an input of what {name!r} orders. Written anew, it alone is no order: set the manifest's time (touch) to "
    "order it again."
)


class ByManifest:
    """Those of one page, each tried once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tried: set[str] = set()
        self._ordered: set[str] = set()  # what they order

    def file(self, info: ObjectInfo, entry: Entry, manifest: ObjectInfo) -> None:
        """A file with a manifest, or named by one."""
        said = self._desk.entry(manifest.key)
        known = entry.signature == info.signature
        is_lead = manifest.key == manifest_of(info.key)
        if said.settles(manifest) and known:
            return
        if said.settles(manifest) and said.outcome == "submitted" and not is_lead:
            (present,) = self._desk.present([(None, info)])
            reason = _INPUT_ALONE.format(name=display_name(manifest.key))
            self._desk.look.notes.append(Note(info, "submitted", present.version, reason, named_by=manifest.key))
            return
        self.order(manifest, anew=not known)
        if info.key not in self._ordered:
            self._desk.wait(info, HELD.format(name=display_name(manifest.key)), named_by=manifest.key)

    def order(self, manifest: ObjectInfo, *, anew: bool) -> None:
        """Take what a manifest orders, once a page. anew: something of it came that was not there before."""
        if manifest.key in self._tried:
            return
        if not self._desk.lies_still(manifest):
            self._desk.look_again(manifest)
        elif not anew and self._desk.entry(manifest.key).rests(manifest):
            self._desk.look.waiting += 1
        else:
            self._tried.add(manifest.key)
            self._desk.guarded(manifest, lambda: self._manifest(manifest))

    def _manifest(self, info: ObjectInfo) -> None:
        workspace_id, recipe_name = place_of(info.key, self._desk.circumstances.workspaces)
        data, version = self._desk.bundles.read(info)
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
            self._desk.look.notes.append(Note(info, "rejected", version=version, reason=error.message))
            self._hold(info, keys)
            return
        members = [(role, self._desk.bundles.info(key)) for role, key in named]
        there = [(role, member) for role, member in members if member is not None]
        if len(there) < len(members):
            self._incomplete(info, [key for _, key in named])
            return
        if not all(self._desk.lies_still(member) for _, member in there):
            self._desk.look_again(info)
            return
        size_bytes = sum(member.size_bytes for _, member in there)
        try:
            for _, member in there:
                self._desk.refuse_too_large(member)
            self._desk.refuse_without_room(workspace_id, size_bytes)
        except CustomerError:
            self._hold(info, keys)
            raise
        first, *others = self._desk.present(there)
        self._ordered |= {member.key for _, member in there}
        found = Found(
            first.info, workspace_id, recipe_name, first.version, Present(info, version), manifest.parameters,
            tuple(others),
        )  # fmt: skip
        self._desk.take(found, size_bytes)

    def _named(self, info: ObjectInfo, recipe_name: str, manifest: Manifest) -> list[tuple[str | None, str]]:
        """All inputs, the recipe's first in front. Raises CustomerError for what cannot be ordered so."""
        first = capability(recipe(recipe_name).capability).roles[0].name
        beside = file_of(info.key)
        named: list[tuple[str | None, str]] = [*manifest.inputs]
        if any(role == first for role, _ in named):
            if not beside.endswith("/") and self._desk.bundles.info(beside) is not None:
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
            self._desk.circumstances.engines,
            recipe_name,
            manifest.parameters,
            Counter(role or first for role, _ in named),
        )
        return named

    def _incomplete(self, info: ObjectInfo, keys: Sequence[str]) -> None:
        """Some of what it names is not there (yet): that waits, and so does the rest; after a time it is refused."""
        absent = [key for key in keys if self._desk.bundles.info(key) is None]
        folder = info.key.rpartition("/")[0] + "/"
        names = ", ".join(repr(key.removeprefix(folder)) for key in absent)
        late = info.age_seconds >= self._desk.settings.inbox.manifest_seconds
        reason = (
            f"{'It was not ordered, for these are' if late else 'It waits for what is'} not there: {names}. Put it "
            "beside the manifest. A manifest is called as its file, with .job.json after the whole name."
        )
        self._desk.look.waiting += 1
        self._desk.look.notes.append(Note(info, "rejected" if late else "waiting", reason=reason))
        self._hold(info, keys)

    def _hold(self, info: ObjectInfo, keys: Sequence[str]) -> None:
        """What a manifest names is no job of its own while that is not ordered, nor when it comes later."""
        name = display_name(info.key)
        for key in keys:
            member = self._desk.bundles.info(key)
            reason = HELD.format(name=name) if member else f"It is not there yet, and {name!r} names it."
            what = member or ObjectInfo(key, 0, "absent", 0.0)
            self._desk.look.notes.append(Note(what, "waiting", reason=reason, named_by=info.key))
