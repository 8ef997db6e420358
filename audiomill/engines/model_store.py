"""The model store: a folder of weights, `<engine>/<model>/`, each with a manifest by whose hash a receipt knows it.

Belongs here: what is installed, whether it is what was installed, fetching it from the hub, taking it from a folder.
Not here: what is in the files.
"""

import fcntl
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import httpx

from audiomill.engines.model_hash import file_sha256, files_sha256
from audiomill.errors import BadRequest, ConfigurationError, EngineUnavailable

Fetched = Callable[[int, int], None]
"""Called with (bytes fetched, bytes in all) while weights are fetched, about twice a second."""

MANIFEST = "audiomill-manifest.json"
HUB = "https://huggingface.co"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# What faster-whisper itself fetches of a repository (faster_whisper.utils.download_model).
_WHISPER_FILES = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]


@dataclass(frozen=True)
class InstalledModel:
    """Weights in the store. `sha256`: over the sorted names and hashes of their files."""

    engine: str
    model: str
    sha256: str
    size_bytes: int


class ModelStore:
    """Weights below one folder. Several processes may read and install at the same time."""

    def __init__(self, directory: Path, *, hub: str = HUB) -> None:
        self.directory = Path(directory)
        self._hub = hub.rstrip("/")

    def installed(self) -> list[InstalledModel]:
        """Everything installed, by engine and model. Folders without a manifest are not: see `add`."""
        return [self._read(manifest.parent) for manifest in sorted(self.directory.glob(f"*/*/{MANIFEST}"))]

    def has(self, engine: str, model: str) -> bool:
        """Whether those weights are installed."""
        return (self._place(engine, model) / MANIFEST).is_file()

    def path(self, engine: str, model: str) -> Path:
        """The folder of a model's weights. Raises EngineUnavailable that says how to get them."""
        if not self.has(engine, model):
            raise EngineUnavailable(missing(engine, model), code="weights_missing")
        return self._place(engine, model)

    def verified(self, engine: str, model: str) -> InstalledModel:
        """The model, after making sure that its files are those that were installed.

        A file whose size and time are as they were is trusted; any other is hashed again. Raises EngineUnavailable.
        """
        folder = self.path(engine, model)
        known = json.loads((folder / MANIFEST).read_text())["files"]
        for name, entry in known.items():
            file = folder / name
            if not file.is_file():
                raise EngineUnavailable(_changed(engine, model, f"{name} is gone"), code="weights_changed")
            status = file.stat()
            same = status.st_size == entry["size"] and status.st_mtime_ns == entry["mtime_ns"]
            if not same and file_sha256(file) != entry["sha256"]:
                raise EngineUnavailable(_changed(engine, model, f"{name} has changed"), code="weights_changed")
        return self._read(folder)

    def add(self, engine: str, model: str, folder: Path) -> InstalledModel:
        """Install weights from a folder of this machine (copied). Replaces what was there.

        Raises ConfigurationError when the folder is not there or is empty.
        """
        if not folder.is_dir() or not any(path.is_file() for path in folder.rglob("*")):
            raise ConfigurationError(f"There are no weights in {str(folder)!r}: it is no folder, or it is empty.")
        return self._install(engine, model, lambda staged: shutil.copytree(folder, staged, dirs_exist_ok=True))

    def pull(
        self, engine: str, model: str, *, timeout_seconds: float, progress: Fetched | None = None
    ) -> InstalledModel:
        """Fetch weights from the hub; all or nothing. Returns at once what is there already.

        `timeout_seconds`: how long the hub may take to answer, not how long the download may last. Raises BadRequest
        for a model that the hub does not have for this engine, EngineUnavailable when the hub does not answer.
        """
        if self.has(engine, model):
            return self._read(self._place(engine, model))
        repository = _repository(engine, model)
        sizes = self._sizes(repository, timeout_seconds)

        def fetch(staged: Path) -> None:
            with _watched(staged, sum(sizes.values()), progress):
                self._fetch(repository, staged, timeout_seconds)

        return self._install(engine, model, fetch)

    def _sizes(self, repository: str, timeout_seconds: float) -> dict[str, int]:
        """Names and sizes of a repository's files; also the quick answer to whether the hub answers at all."""
        try:
            answer = httpx.get(
                f"{self._hub}/api/models/{repository}",
                params={"blobs": "true"},
                timeout=timeout_seconds,
                follow_redirects=True,
            )
            answer.raise_for_status()
            files = answer.json()["siblings"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise self._no_answer(repository, error) from error
        return {
            file["rfilename"]: int(file.get("size") or 0)
            for file in files
            if any(fnmatch(file["rfilename"], pattern) for pattern in _WHISPER_FILES)
        }

    def _fetch(self, repository: str, folder: Path, timeout_seconds: float) -> None:
        from huggingface_hub import HfApi  # noqa: PLC0415 - half a second that only a download needs
        from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

        disable_progress_bars()
        try:
            HfApi(endpoint=self._hub).snapshot_download(
                repository, local_dir=folder, allow_patterns=_WHISPER_FILES, etag_timeout=timeout_seconds
            )
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise self._no_answer(repository, error) from error
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub client's own notes

    def _no_answer(self, repository: str, error: Exception) -> EngineUnavailable:
        return EngineUnavailable(
            f"The model hub {self._hub} did not give {repository}: {type(error).__name__}: {error}. Try again, or "
            "bring the weights by hand with `audiomill models add`.",
            code="hub_unreachable",
        )

    def _install(self, engine: str, model: str, fill: Callable[[Path], object]) -> InstalledModel:
        """Fill a folder beside the store's, which then becomes the model's; when filling fails, nothing has changed."""
        place = self._place(engine, model)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=place.parent) as workspace:
            staged = Path(workspace) / "new"
            staged.mkdir()
            fill(staged)
            _write_manifest(staged)
            # One installer swaps at a time: the kernel frees the lock of one that dies.
            with (self.directory / ".installing").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if place.exists():
                    place.rename(Path(workspace) / "old")
                staged.rename(place)
                return self._read(place)

    def _place(self, engine: str, model: str) -> Path:
        for name in (engine, model):
            if not _NAME.fullmatch(name):
                raise BadRequest(f"{name!r} is no name of an engine or a model.", code="bad_model_name")
        return self.directory / engine / model

    @staticmethod
    def _read(folder: Path) -> InstalledModel:
        manifest = json.loads((folder / MANIFEST).read_text())
        size = sum(int(entry["size"]) for entry in manifest["files"].values())
        return InstalledModel(folder.parent.name, folder.name, str(manifest["sha256"]), size)


def missing(engine: str, model: str) -> str:
    """The sentence about weights that are not there."""
    return f"weights of {model} are not in the model store: run `audiomill models pull {engine} {model}`"


def _changed(engine: str, model: str, what: str) -> str:
    return f"weights of {engine} {model} are not what was installed ({what}): remove the folder and install them again"


def _repository(engine: str, model: str) -> str:
    """The hub's repository of a model. Raises BadRequest."""
    if engine != "faster-whisper":
        raise BadRequest(f"{engine} has no weights that could be fetched.", code="unknown_model")
    from faster_whisper.utils import _MODELS

    repositories: dict[str, str] = _MODELS
    if model not in repositories:
        raise BadRequest(
            f"faster-whisper has no model {model!r}. There are: {', '.join(sorted(repositories))}.",
            code="unknown_model",
        )
    return repositories[model]


def _write_manifest(folder: Path) -> None:
    files = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        status = file.stat()
        files[str(file.relative_to(folder))] = {
            "sha256": file_sha256(file),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    whole = files_sha256({name: str(entry["sha256"]) for name, entry in files.items()})
    (folder / MANIFEST).write_text(json.dumps({"sha256": whole, "files": files}, indent=1))


@contextmanager
def _watched(folder: Path, total: int, progress: Fetched | None) -> Iterator[None]:
    """Tell how much of a download has come, from the sizes of its files."""
    if progress is None:
        yield
        return
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.5):
            progress(min(total, _size(folder)), total)

    watcher = threading.Thread(target=watch, daemon=True, name="download-progress")
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
    progress(total, total)


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # renamed between the listing and the look
            continue
    return size
