"""From a result to what is delivered: the stored artifact, the output files, a signed receipt beside each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785

from audiomill import __version__
from audiomill.engines.protocol import EngineIdentity
from audiomill.formats import RECEIPT_SUFFIX, media_type_of
from audiomill.jobs.batches.working import ArtifactRecord, ItemResult, JobWarning, OutputRecord, PartRecord
from audiomill.milling.making import checks_of, details_of, source_of, steps_of
from audiomill.milling.stage import Material, Opened
from audiomill.quality import Check
from audiomill.receipts import EnginePart, OutputPart, ReceiptBody, SigningKey, sign
from audiomill.storage import ObjectStore
from audiomill.storage.keys import artifact_key as artifact_object_key
from audiomill.storage.keys import output_key

Content = bytes | Path
"""Bytes, or a file that holds them: hours of sound are never whole in memory."""


@dataclass(frozen=True)
class Made:
    """A result ready to be delivered. `artifact` is its stored form, whose suffix has a dot; sound comes in files.

    parts: its stored form where that is several files, by name; `artifact` is then one of them.
    """

    artifact: Content
    artifact_suffix: str
    files: Mapping[str, Content]
    checks: Sequence[Check]
    recording_seconds: float | None
    audio_seconds: float
    characters: int | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)


def making_key(
    workspace_id: str, stage: str, identity: EngineIdentity, input_sha256: str, parameters: Mapping[str, Any]
) -> str:
    """Names a result by all that it depends on. The files wanted, and which engine `auto` meant, are not part of it."""
    relevant = {name: value for name, value in parameters.items() if name not in {"formats", "engine", "model"}}
    made_from = [
        workspace_id,
        stage,
        __version__,
        identity.engine,
        identity.version,
        identity.model,
        identity.model_sha256,
        identity.seed,
        input_sha256,
        relevant,
    ]
    return hashlib.sha256(rfc8785.dumps(made_from)).hexdigest()


def deliver(
    store: ObjectStore,
    key: SigningKey,
    identity: EngineIdentity,
    opened: Opened[Material],
    made: Made,
    processing_seconds: float,
) -> ItemResult:
    """Store the artifact, the files and their receipts. Nothing is visible to the customer before it is recorded."""
    item = opened.item
    parts = {name: _part(opened, path) for name, path in made.parts.items()}
    sha256 = _sha256(made.artifact)
    artifact = ArtifactRecord(
        key=opened.artifact_key,
        object_key=artifact_object_key(
            item.workspace_id, item.stage, opened.artifact_key, sha256, made.artifact_suffix
        ),
        sha256=sha256,
        size_bytes=sum(part.size_bytes for part in parts.values()) if parts else _size_bytes(made.artifact),
        parts=parts,
        details=details_of(
            item,
            identity,
            opened.input_sha256,
            checks_of(opened.flaws, made.checks),
            audio_seconds=made.audio_seconds,
            processing_seconds=processing_seconds,
        ),
    )
    if not opened.known and not parts:
        _store(store, artifact.object_key, made.artifact)
    elif not opened.known:
        for name, part in parts.items():
            _store(store, part.object_key, made.parts[name], media_type=part.media_type)
    outputs: list[OutputRecord] = []
    for name, content in made.files.items() if item.delivers else ():
        written = _put(store, opened, name, content)
        receipt = sign(_receipt(identity, opened, made, artifact, written), key)
        outputs += [written, _put(store, opened, name + RECEIPT_SUFFIX, receipt)]
    return ItemResult(
        artifact=artifact,
        outputs=tuple(outputs),
        recording_sha256=opened.input_sha256 if item.recording_id is not None else None,
        recording_seconds=made.recording_seconds,
        audio_seconds=made.audio_seconds,
        processing_seconds=processing_seconds,
        warnings=_warnings(opened, made),
    )


def _warnings(opened: Opened[Material], made: Made) -> tuple[JobWarning, ...]:
    """What was wrong with the input, and the checks that the result did not pass but that do not refuse it."""
    return (
        *(JobWarning(flaw.code, flaw.message) for flaw in opened.flaws),
        *(JobWarning(check.name, check.reason) for check in made.checks if not check.passed and check.reason),
    )


def _part(opened: Opened[Material], path: Path) -> PartRecord:
    item, sha256 = opened.item, _sha256(path)
    key = artifact_object_key(item.workspace_id, item.stage, opened.artifact_key, sha256, path.suffix)
    return PartRecord(key, sha256, _size_bytes(path), media_type_of(path.name))


def _put(store: ObjectStore, opened: Opened[Material], name: str, content: Content) -> OutputRecord:
    item, media_type = opened.item, media_type_of(name)
    # The attempt is part of the key: what a run that lost its lease still writes, no one ever reads.
    key = output_key(item.workspace_id, item.job_id, item.revision, opened.attempt, name)
    _store(store, key, content, media_type=media_type)
    return OutputRecord(name, key, media_type, _size_bytes(content), _sha256(content))


def _store(store: ObjectStore, key: str, content: Content, *, media_type: str = "application/octet-stream") -> None:
    if isinstance(content, Path):
        store.put_file(key, content, media_type=media_type)
    else:
        store.put_bytes(key, content, media_type=media_type)


def _size_bytes(content: Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _sha256(content: Content) -> str:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content).hexdigest()


def _receipt(
    identity: EngineIdentity,
    opened: Opened[Material],
    made: Made,
    artifact: ArtifactRecord,
    output: OutputRecord,
) -> ReceiptBody:
    item = opened.item
    return ReceiptBody(
        job_id=item.job_id,
        revision=item.revision,
        output=OutputPart(
            name=output.name, sha256=output.sha256, size_bytes=output.size_bytes, media_type=output.media_type
        ),
        input=source_of(item, opened.input_sha256, made.recording_seconds, made.characters),
        stage=item.stage,
        engine=EnginePart(
            name=identity.engine,
            version=identity.version,
            model=identity.model,
            model_sha256=identity.model_sha256,
        ),
        parameters=item.parameters,
        seed=identity.seed,
        code_version=__version__,
        audio_seconds=made.audio_seconds,
        processing_seconds=artifact.details["processing_seconds"],
        made_at=datetime.now(UTC),
        checks=checks_of(opened.flaws, made.checks),
        steps=steps_of(item, artifact.details, artifact.sha256),
        left_out=item.left_out,
    )
