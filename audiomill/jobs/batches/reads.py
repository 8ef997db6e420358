"""What the items of a batch read: files of their jobs' inputs, and parts that other steps made. Reading only."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
class StepMade:
    """A step that is complete. `sha256`: of its result; `details`: as they were noted when it was made."""

    step: str
    stage: str
    options: Mapping[str, Any]
    sha256: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Files:
    """What an item reads, without what an optional step did not make. `first`: of that, or of its job's inputs.

    sources: all inputs of its job, by their roles. made_by: the steps that it comes after, by whatever way; left_out:
    those of them that failed.
    """

    first: InputRef
    read: tuple[InputRef, ...]
    sources: tuple[InputRef, ...]
    made_by: tuple[StepMade, ...]
    left_out: tuple[str, ...]


def read_by(session: Session, readers: Sequence[Reader]) -> dict[str, Files]:
    """What each item reads, by its id."""
    inputs = _inputs(session, readers)
    steps = _steps(session, readers)
    found = {}
    for reader in readers:
        before = steps.get((reader.job_id, reader.revision), {})
        refs: list[InputRef] = []
        for read in reader.reads:
            role = input_role(read)
            if role is None:
                step, _, part = read.partition("/")
                refs += [ref for ref in _parts(before.get(step)) if ref.name == f"{step}/{part}"]
            else:
                files = inputs[reader.job_id][role]
                refs += files if reads_all(read) else files[:1]
        sources = tuple(ref for files in inputs[reader.job_id].values() for ref in files)
        after = _comes_after(reader.reads, before)
        found[reader.item_id] = Files(
            refs[0] if refs else sources[0],
            tuple(refs),
            sources,
            tuple(_made(row) for row in after if row.Artifact is not None),
            tuple(row.step for row in after if row.Artifact is None),
        )
    return found


def _inputs(session: Session, readers: Sequence[Reader]) -> dict[str, dict[str, list[InputRef]]]:
    """By job and role."""
    roles = {reader.job_id: {role.name: role for role in capability(reader.capability).roles} for reader in readers}
    found: dict[str, dict[str, list[InputRef]]] = {
        job_id: {name: [] for name in known} for job_id, known in roles.items()
    }
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


def _steps(session: Session, readers: Sequence[Reader]) -> dict[tuple[str, int], dict[str, Any]]:
    """By job and revision, where any reader reads a part: the rows of its ended steps by name, in the plan's order."""
    found: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    jobs = {
        (reader.job_id, reader.revision) for reader in readers if any(input_role(read) is None for read in reader.reads)
    }
    if not jobs:
        return found
    rows = session.execute(
        select(
            WorkItem.job_id,
            WorkItem.revision,
            WorkItem.step,
            WorkItem.stage,
            WorkItem.options,
            WorkItem.reads,
            Artifact,
        )
        .outerjoin(Artifact, (Artifact.key == WorkItem.artifact_key) & (WorkItem.state == "complete"))
        .where(tuple_(WorkItem.job_id, WorkItem.revision).in_(jobs), WorkItem.state.in_(("complete", "failed")))
        .order_by(WorkItem.id)
    )
    for row in rows:
        found[row.job_id, row.revision][row.step] = row
    return found


def _comes_after(reads: Sequence[str], steps: Mapping[str, Any]) -> list[Any]:
    """The rows of the steps that are read, and of those that these read, and so on; in the order of the plan."""
    wanted: set[str] = set()
    ahead = [read.partition("/")[0] for read in reads if input_role(read) is None]
    while ahead:
        name = ahead.pop()
        if name in steps and name not in wanted:
            wanted.add(name)
            ahead += [read.partition("/")[0] for read in steps[name].reads if input_role(read) is None]
    return [row for name, row in steps.items() if name in wanted]


def _made(row: Any) -> StepMade:  # noqa: ANN401 - a row
    return StepMade(row.step, row.stage, row.options, row.Artifact.sha256, row.Artifact.details)


def _parts(row: Any) -> list[InputRef]:  # noqa: ANN401 - as above; None: it did not end, or is not there
    if row is None or row.Artifact is None:
        return []
    return [
        InputRef(
            f"{row.step}/{name}",
            part["object_key"],
            None,
            part["sha256"],
            str(part["media_type"]).partition("/")[0],
            part["object_key"].rpartition("/")[2],
            part["size_bytes"] or 0,
        )
        for name, part in parts_of(row.Artifact).items()
    ]


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
