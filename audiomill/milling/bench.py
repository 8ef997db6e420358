"""What a stage works with: the engine, the store, the key that receipts are signed with, the way to the database."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import rfc8785
import structlog

from audiomill.engines.protocol import Engine
from audiomill.errors import NotFound
from audiomill.jobs.batches.kept_units import UnitRecord
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.reads import parts_of
from audiomill.milling.writer import BatchWriter
from audiomill.receipts import SigningKey
from audiomill.settings import Settings
from audiomill.storage import ObjectStore
from audiomill.storage.keys import artifact_key as artifact_object_key

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bench:
    """What a stage works with."""

    engine: Engine
    store: ObjectStore
    key: SigningKey
    settings: Settings
    writer: BatchWriter

    def known(self, artifact_key: str) -> bytes | None:
        """The stored result of an earlier job of the same making: a small one."""
        artifact = self.writer.find_artifact(artifact_key)
        if artifact is None:
            return None
        try:
            return self.store.get_bytes(artifact.object_key)
        except NotFound:
            log.warning("artifact is gone from the store and is made again", artifact=artifact_key)
            return None

    def fetch_known(self, artifact_key: str, path: Path) -> bool:
        """Copy the stored result of an earlier job of the same making to a file. False where there is none."""
        artifact = self.writer.find_artifact(artifact_key)
        if artifact is None:
            return False
        try:
            self.store.fetch(artifact.object_key, path)
        except NotFound:
            log.warning("artifact is gone from the store and is made again", artifact=artifact_key)
            return False
        return True

    def fetch_parts(self, artifact_key: str, folder: Path) -> dict[str, Path]:
        """Copy the parts of an earlier result of the same making to files; none where one is not there."""
        artifact = self.writer.find_artifact(artifact_key)
        found: dict[str, Path] = {}
        for name, part in ({} if artifact is None else parts_of(artifact)).items():
            found[name] = folder / f"known-{name}"
            try:
                self.store.fetch(part["object_key"], found[name])
            except NotFound:
                log.warning("a part is gone from the store and is made again", artifact=artifact_key, part=name)
                return {}
        return found

    def units(self, keys: Collection[str]) -> dict[str, bytes]:
        """Results of units that an earlier run kept, by key."""
        found: dict[str, bytes] = {}
        for key, object_key in self.writer.find_units(keys).items():
            try:
                found[key] = self.store.get_bytes(object_key)
            except NotFound:
                log.warning("a unit is gone from the store and is made again", artifact=key)
        return found

    def keep_units(self, item: ClaimedItem, results: Mapping[str, bytes], suffix: str) -> None:
        """Keep results of units by key. `suffix`: of their form, with a dot."""
        records = []
        for key, data in results.items():
            sha256 = hashlib.sha256(data).hexdigest()
            object_key = artifact_object_key(item.workspace_id, item.stage, key, sha256, suffix)
            self.store.put_bytes(object_key, data)
            records.append(UnitRecord(key, object_key, sha256, len(data)))
        self.writer.keep_units(item.workspace_id, records)


def unit_key(*made_from: object) -> str:
    """Names a unit's result by all that it depends on: plain values."""
    return hashlib.sha256(rfc8785.dumps(["unit", *made_from])).hexdigest()  # type: ignore[list-item]  # its type is private
