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
from audiomill.milling.stage import Material, Opened
from audiomill.quality import Check
from audiomill.receipts import CheckPart, EnginePart, InputPart, OutputPart, ReceiptBody, SigningKey, sign
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
        details={
            "engine": identity.engine,
            "engine_version": identity.version,
            "model": identity.model,
            "model_sha256": identity.model_sha256,
            "seed": identity.seed,
            "input_sha256": opened.input_sha256,
            "seconds": made.audio_seconds,
            "processing_seconds": processing_seconds,
        },
    )
    if not opened.known and not parts:
        _store(store, artifact.object_key, made.artifact)
    elif not opened.known:
        for name, part in parts.items():
            _store(store, part.object_key, made.parts[name], media_type=part.media_type)
    outputs: list[OutputRecord] = []
    for name, content in made.files.items():
        written = _put(store, opened, name, content)
        receipt = sign(_receipt(identity, opened, made, written, processing_seconds), key)
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
    output: OutputRecord,
    processing_seconds: float,
) -> ReceiptBody:
    item = opened.item
    return ReceiptBody(
        job_id=item.job_id,
        output=OutputPart(
            name=output.name, sha256=output.sha256, size_bytes=output.size_bytes, media_type=output.media_type
        ),
        input=InputPart(
            sha256=opened.input_sha256,
            size_bytes=item.size_bytes,
            kind=item.kind,
            seconds=made.recording_seconds,
            characters=made.characters,
        ),
        stage=item.stage,
        engine=EnginePart(
            name=identity.engine,
            version=identity.version,
            model=identity.model,
            model_sha256=identity.model_sha256,
        ),
        parameters=dict(item.options),
        seed=identity.seed,
        code_version=__version__,
        audio_seconds=made.audio_seconds,
        processing_seconds=processing_seconds,
        made_at=datetime.now(UTC),
        checks=(
            *(CheckPart(name=flaw.code, passed=False) for flaw in opened.flaws),
            *(
                CheckPart(name=check.name, passed=check.passed, value=check.value, limit=check.limit)
                for check in made.checks
            ),
        ),
    )
