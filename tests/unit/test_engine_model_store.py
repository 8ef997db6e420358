"""The model store: all or nothing, known by hash, changed weights refused, a hub that is away or not quite there."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audiomill.engines.model_store import MANIFEST, ModelStore
from audiomill.errors import BadRequest, ConfigurationError, EngineUnavailable

FILES = {"config.json": b"{}", "model.bin": b"w" * 5000, "tokenizer.json": b"{}", "vocabulary.json": b"[]"}
COMMIT = "0" * 39 + "1"


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


class Hub(BaseHTTPRequestHandler):
    """The few answers of a model hub that a download needs; `missing` names a file that breaks off."""

    missing: str | None = None
    calls: list[str] = []  # noqa: RUF012 - one server per test

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.calls.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if path.startswith("/api/models/Systran/faster-whisper-small/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": name} for name, content in FILES.items()
            ]
            self._send(json.dumps(tree).encode(), body=body)
        elif path.startswith("/api/models/Systran/faster-whisper-small"):
            siblings = [{"rfilename": name, "size": len(content)} for name, content in FILES.items()]
            siblings.append({"rfilename": "README.md", "size": 7})
            answer = {"id": "Systran/faster-whisper-small", "sha": COMMIT, "siblings": siblings, "private": False}
            self._send(json.dumps(answer).encode(), body=body)
        elif (name := path.rpartition("/")[2]) in FILES and name != self.missing:
            self._send(FILES[name], body=body, headers={"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    def _send(self, content: bytes, *, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    handler = type("OneHub", (Hub,), {"calls": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_from_a_folder(tmp_path, weights):
    store = ModelStore(tmp_path / "store")
    added = store.add("faster-whisper", "small", weights)
    assert store.installed() == [added] == [store.verified("faster-whisper", "small")]
    assert added.size_bytes == sum(len(content) for content in FILES.values())
    assert (store.path("faster-whisper", "small") / "model.bin").read_bytes() == FILES["model.bin"]
    again = ModelStore(tmp_path / "other").add("faster-whisper", "tiny", weights)
    assert again.sha256 == added.sha256, "the hash is of the contents, not of the place"


def test_other_weights_have_another_hash_and_replace(tmp_path, weights):
    store = ModelStore(tmp_path / "store")
    first = store.add("faster-whisper", "small", weights)
    (weights / "model.bin").write_bytes(b"v" * 5000)
    (weights / "config.json").unlink()
    second = store.add("faster-whisper", "small", weights)
    assert second.sha256 != first.sha256
    assert store.installed() == [second]
    assert not (store.path("faster-whisper", "small") / "config.json").exists()
    assert [path.name for path in (tmp_path / "store" / "faster-whisper").iterdir()] == ["small"]


@pytest.mark.parametrize("change", ["edit", "same size", "remove"])
def test_changed_weights_are_refused(tmp_path, weights, change):
    store = ModelStore(tmp_path / "store")
    store.add("faster-whisper", "small", weights)
    file = store.path("faster-whisper", "small") / "model.bin"
    if change == "remove":
        file.unlink()
    else:
        file.write_bytes(b"x" * (5000 if change == "same size" else 10))
    with pytest.raises(EngineUnavailable, match=r"model\.bin (is gone|has changed)") as failure:
        store.verified("faster-whisper", "small")
    assert failure.value.code == "weights_changed"


def test_a_touched_file_is_still_the_same(tmp_path, weights):
    store = ModelStore(tmp_path / "store")
    store.add("faster-whisper", "small", weights)
    file = store.path("faster-whisper", "small") / "model.bin"
    file.write_bytes(file.read_bytes())
    assert store.verified("faster-whisper", "small").model == "small"


def test_what_is_not_there(tmp_path):
    store = ModelStore(tmp_path)
    assert store.installed() == []
    with pytest.raises(EngineUnavailable, match="audiomill models pull faster-whisper small"):
        store.path("faster-whisper", "small")
    with pytest.raises(ConfigurationError, match="no folder, or it is empty"):
        store.add("faster-whisper", "small", tmp_path / "nowhere")
    (tmp_path / "faster-whisper" / "by-hand").mkdir(parents=True)
    assert store.installed() == [], "half-copied weights are not weights"


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden", "x" * 200, "a\nb"])
def test_names_cannot_leave_the_store(tmp_path, weights, name):
    with pytest.raises(BadRequest):
        ModelStore(tmp_path / "store").add("faster-whisper", name, weights)
    with pytest.raises(BadRequest):
        ModelStore(tmp_path / "store").path(name, "small")


def test_pull_from_a_hub(tmp_path, hub):
    url, handler = hub
    store = ModelStore(tmp_path, hub=url)
    told: list[tuple[int, int]] = []
    pulled = store.pull(
        "faster-whisper", "small", timeout_seconds=10, progress=lambda done, total: told.append((done, total))
    )
    total = sum(len(content) for content in FILES.values())
    assert (pulled.size_bytes, told[-1]) == (total, (total, total))
    folder = store.path("faster-whisper", "small")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, MANIFEST])
    assert not any("README" in call for call in handler.calls)
    handler.calls.clear()
    assert store.pull("faster-whisper", "small", timeout_seconds=10) == pulled
    assert handler.calls == [], "what is there is not asked for"


def test_a_hub_that_is_away(tmp_path, hub):
    url, _ = hub
    away = ModelStore(tmp_path, hub=f"http://127.0.0.1:{_free_port()}")
    with pytest.raises(EngineUnavailable, match=r"did not give Systran/faster-whisper-small.*models add") as failure:
        away.pull("faster-whisper", "small", timeout_seconds=2)
    assert failure.value.code == "hub_unreachable"
    with pytest.raises(EngineUnavailable, match="faster-whisper-tiny"):
        ModelStore(tmp_path, hub=url).pull("faster-whisper", "tiny", timeout_seconds=2)
    assert away.installed() == []


def test_a_download_that_breaks_leaves_nothing(tmp_path, hub):
    url, handler = hub
    handler.missing = "model.bin"
    store = ModelStore(tmp_path, hub=url)
    with pytest.raises(EngineUnavailable):
        store.pull("faster-whisper", "small", timeout_seconds=2)
    assert store.installed() == []
    assert list((tmp_path / "faster-whisper").iterdir()) == []


def test_unknown_models(tmp_path):
    with pytest.raises(BadRequest, match="no model 'huge'"):
        ModelStore(tmp_path).pull("faster-whisper", "huge", timeout_seconds=1)
    with pytest.raises(BadRequest, match="no weights that could be fetched"):
        ModelStore(tmp_path).pull("espeak-ng", "en", timeout_seconds=1)


def test_two_installers_at_once(tmp_path, weights):
    store, failures = ModelStore(tmp_path / "store"), []

    def add() -> None:
        try:
            store.add("faster-whisper", "small", weights)
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert store.verified("faster-whisper", "small").size_bytes > 5000


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
