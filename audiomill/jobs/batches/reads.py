"""What the items of a batch read: files of their jobs' inputs, and parts that other steps made. Reading only."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from audiomill.catalogue.capabilities import capability
from audiomill.catalogue.plan import input_role, reads_all
from audiomill.database.tables import Artifact, JobInput, Recording, WorkItem
from audiomill.formats import media_type_of

RESULT = "result"
"""The name of the part of an artifact that is one file."""


@dataclass(frozen=True)
class InputRef:
    """One file that a step reads. `name`: `input:<role>` or `<step>/<part>`, as its plan says.

    version: of a recording, as the store called it when it was ordered. sha256: where it is known. kind: what it is
    taken as (`audio`, `text`; of a part, the first word of its media type). recording_id: None of a part.
    """

    name: str
    object_key: str
    version: str | None
    sha256: str | None
    kind: str
    filename: str
    size_bytes: int
    recording_id: str | None = None


@dataclass(frozen=True)
class Reader:
    """An item and what it reads."""

    item_id: str
    job_id: str
    capability: str
    revision: int
    reads: Sequence[str]


@dataclass(frozen=True)
class Files:
    """What an item reads, without what an optional step did not make. `first`: of that, or of its job's inputs."""

    first: InputRef
    read: tuple[InputRef, ...]


def read_by(session: Session, readers: Sequence[Reader]) -> dict[str, Files]:
    """What each item reads, by its id."""
    inputs = _inputs(session, readers)
    parts = _parts(session, readers)
    found = {}
    for reader in readers:
        refs: list[InputRef] = []
        for read in reader.reads:
            role = input_role(read)
            if role is None:
                step, _, part = read.partition("/")
                refs += [ref for ref in parts[reader.job_id, reader.revision, step] if ref.name == f"{step}/{part}"]
            else:
                files = inputs[reader.job_id][role]
                refs += files if reads_all(read) else files[:1]
        first = refs[0] if refs else next(ref for files in inputs[reader.job_id].values() for ref in files)
        found[reader.item_id] = Files(first, tuple(refs))
    return found


def _inputs(session: Session, readers: Sequence[Reader]) -> dict[str, dict[str, list[InputRef]]]:
    """By job and role."""
    roles = {reader.job_id: {role.name: role for role in capability(reader.capability).roles} for reader in readers}
    found: dict[str, dict[str, list[InputRef]]] = {job_id: defaultdict(list) for job_id in roles}
    rows = session.execute(
        select(JobInput, Recording)
        .join(Recording, Recording.id == JobInput.recording_id)
        .where(JobInput.job_id.in_(list(roles)))
        .order_by(JobInput.job_id, JobInput.role, JobInput.position)
    )
    for given, recording in rows:
        found[given.job_id][given.role].append(
            InputRef(
                f"input:{given.role}",
                recording.object_key,
                recording.object_version,
                recording.sha256,
                roles[given.job_id][given.role].kind,
                given.filename,
                recording.size_bytes,
                recording.id,
            )
        )
    return found


def _parts(session: Session, readers: Sequence[Reader]) -> dict[tuple[str, int, str], list[InputRef]]:
    """By job, revision and step."""
    found: dict[tuple[str, int, str], list[InputRef]] = defaultdict(list)
    jobs = {
        (reader.job_id, reader.revision) for reader in readers if any(input_role(read) is None for read in reader.reads)
    }
    if not jobs:
        return found
    rows = session.execute(
        select(WorkItem.job_id, WorkItem.revision, WorkItem.step, Artifact)
        .join(Artifact, Artifact.key == WorkItem.artifact_key)
        .where(tuple_(WorkItem.job_id, WorkItem.revision).in_(jobs), WorkItem.state == "complete")
    )
    for job_id, revision, step, artifact in rows:
        for name, part in parts_of(artifact).items():
            found[job_id, revision, step].append(
                InputRef(
                    f"{step}/{name}",
                    part["object_key"],
                    None,
                    part["sha256"],
                    str(part["media_type"]).partition("/")[0],
                    part["object_key"].rpartition("/")[2],
                    part["size_bytes"] or 0,
                )
            )
    return found


def parts_of(artifact: Artifact) -> dict[str, dict[str, Any]]:
    """The files of an artifact by name."""
    if artifact.parts is not None:
        return artifact.parts
    return {
        RESULT: {
            "object_key": artifact.object_key,
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
            "media_type": media_type_of(artifact.object_key),
        }
    }
