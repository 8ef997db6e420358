"""What a stage works with: the engine, the store, the key that receipts are signed with, the way to the database."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from audiomill.engines.protocol import Engine
from audiomill.errors import NotFound
from audiomill.jobs.batches.reads import parts_of
from audiomill.milling.writer import BatchWriter
from audiomill.receipts import SigningKey
from audiomill.settings import Settings
from audiomill.storage import ObjectStore

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
