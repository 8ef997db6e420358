"""What the database says of a page of the inbox, asked at once, and where an object's key says that it belongs."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from audiomill.accounts.space import Space, spaces
from audiomill.catalogue.capabilities import capability
from audiomill.catalogue.recipes import RECIPES, recipe
from audiomill.errors import BadRequest, CustomerError, EngineUnavailable
from audiomill.inbox.entries import NEW, Entry, known_entries
from audiomill.inbox.manifests import is_manifest, manifest_of
from audiomill.jobs.availability import EngineView, table
from audiomill.jobs.resolving import frozen
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo
from audiomill.storage.keys import INBOX


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
    for name in {parts[2] for info in new if len(parts := info.key.split("/")) > 3} & RECIPES.keys():  # noqa: PLR2004 - as in place_of
        first = capability(RECIPES[name].capability).roles[0]
        try:
            frozen(engines, name, {}, {first.name: 1})
        except EngineUnavailable as error:
            unserved[name] = error.message
        except CustomerError as error:
            needs[name] = error.message
    return Circumstances(known, workspaces, engines, unserved, needs)


def place_of(key: str, workspaces: Container[str]) -> tuple[str, str]:
    """The workspace and the recipe. Raises BadRequest."""
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
