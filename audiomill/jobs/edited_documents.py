"""Documents of lines in the store: fetching them, and keeping an edited one as the result of the step that made it.

No transactions here: the store is asked between them. What an edit says is audiomill/lines/editing.py's.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import rfc8785

from audiomill.database.tables import Artifact
from audiomill.errors import NotFound
from audiomill.jobs.batches.reads import parts_of
from audiomill.jobs.batches.working import ArtifactRecord, PartRecord
from audiomill.jobs.identifiers import new_id
from audiomill.lines.document import Lines
from audiomill.storage import ObjectStore
from audiomill.storage.keys import artifact_key

EDITED_CHECK = "edited_by_customer"
"""On receipts, of a step whose lines its customer edited: in how many of them."""


def document_of(store: ObjectStore, object_key: str) -> Lines:
    """Lines as they are kept. Raises NotFound (`lines_gone`)."""
    return Lines.from_json(_bytes(store, object_key))


def edits_of(artifacts: Collection[Artifact]) -> int:
    """How many lines its customer edited of these results, by what their checks say."""
    checks = [check for artifact in artifacts for check in artifact.details.get("checks", ())]
    return sum(check["value"] for check in checks if check["name"] == EDITED_CHECK)


def stored(store: ObjectStore, of: Artifact, part: str, document: Lines, *, edits: int) -> ArtifactRecord:
    """A step's result with the edited document for one of its parts, all of it as objects of its own: those of the old
    one go when that goes.

    edits: that are in it by now. The name of each is its own: nobody else writes, recalls or sweeps it meanwhile, and
    what an edit that is refused leaves behind goes as any object that no row names.
    """
    key = hashlib.sha256(rfc8785.dumps(["edited", of.workspace_id, of.stage, of.key, new_id("edit")])).hexdigest()
    parts: dict[str, PartRecord] = {}
    for name, was in parts_of(of).items():
        # Beside its lines such a step makes small documents.
        data = document.to_json() if name == part else _bytes(store, was["object_key"])
        parts[name] = _put(store, of, key, data, was)
    size_bytes = sum(each.size_bytes for each in parts.values())
    return ArtifactRecord(key, parts[part].object_key, parts[part].sha256, size_bytes, _details(of, edits), parts)


def _put(store: ObjectStore, of: Artifact, key: str, data: bytes, was: Mapping[str, Any]) -> PartRecord:
    sha256 = hashlib.sha256(data).hexdigest()
    suffix = str(was["object_key"]).rpartition("/")[2].partition(".")[2]
    object_key = artifact_key(of.workspace_id, of.stage, key, sha256, f".{suffix}" if suffix else "")
    store.put_bytes(object_key, data, media_type=was["media_type"])
    return PartRecord(object_key, sha256, len(data), was["media_type"])


def _details(of: Artifact, edits: int) -> dict[str, Any]:
    """Of the step that made the lines, and how many of them its customer has edited since."""
    checks = [check for check in of.details.get("checks", ()) if check["name"] != EDITED_CHECK]
    edited = {"name": EDITED_CHECK, "passed": True, "value": edits, "limit": None}
    return {**of.details, "checks": [*checks, edited]}


def lines_gone() -> NotFound:
    """The error for lines whose job, or whose document, went meanwhile."""
    return NotFound("The lines of this job are kept no longer. Order it again.", code="lines_gone")


def _bytes(store: ObjectStore, object_key: str) -> bytes:
    try:
        return store.get_bytes(object_key)
    except NotFound:
        raise lines_gone() from None
