"""What every object store does, run on the local directory and on S3 over HTTP (moto's server, real boto3 client).

Each test works below a prefix of its own, so one store serves the module. What only one store does is at the end.
"""

import errno
import gc
import hashlib
import os
import re
import resource
import secrets
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example
from hypothesis import strategies as st
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from audiomill.errors import (
    BadRequest,
    ConfigurationError,
    Conflict,
    LimitExceeded,
    NotFound,
    StorageUnavailable,
    Unauthorized,
)
from audiomill.formats import MEDIA_TYPES
from audiomill.settings import Settings, StorageSettings
from audiomill.storage import ObjectInfo, ObjectStore, open_store
from audiomill.storage.local import LocalStore
from audiomill.storage.receiving import Receiver
from audiomill.storage.s3 import S3Store


@pytest.fixture(scope="module")
def s3_store(s3_server: str) -> Iterator[ObjectStore]:
    chosen = StorageSettings(kind="s3", bucket="mill", prefix="below/this", endpoint_url=s3_server)
    with closing(S3Store(chosen)) as store:
        yield store


@pytest.fixture(scope="module")
def local_store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(tmp_path_factory.mktemp("store"), secret="secret", public_url="http://api.test")


@pytest.fixture(scope="module", params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def base() -> str:
    return f"t/{secrets.token_hex(8)}/"


def listed(store: ObjectStore, prefix: str, limit: int) -> list[str]:
    keys: list[str] = []
    after = None
    while True:
        page = store.list_page(prefix, after=after, limit=limit)
        assert len(page.objects) <= limit
        keys += [found.key for found in page.objects]
        if page.next_after is None:
            return keys
        assert after is None or page.next_after.encode() > after.encode(), "paging must move on"
        after = page.next_after


def in_key_order(keys: list[str]) -> list[str]:
    return sorted(set(keys), key=str.encode)


def test_what_is_put_is_read(store: ObjectStore, base: str, tmp_path: Path) -> None:
    data = secrets.token_bytes(70_000)
    store.put_bytes(base + "a.bin", data)
    assert store.get_bytes(base + "a.bin") == data
    (tmp_path / "in").write_bytes(data)
    store.put_file(base + "b.bin", tmp_path / "in", media_type="audio/wav")
    assert store.fetch(base + "b.bin", tmp_path / "out", max_bytes=len(data)) == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "out").read_bytes() == data
    info = store.stat(base + "b.bin")
    assert (info.key, info.size_bytes) == (base + "b.bin", len(data))
    assert store.list_page(base + "b").objects[0].signature == info.signature


def test_an_empty_object(store: ObjectStore, base: str, tmp_path: Path) -> None:
    store.put_bytes(base + "empty", b"")
    assert store.get_bytes(base + "empty") == b""
    assert store.fetch(base + "empty", tmp_path / "out", max_bytes=1) == hashlib.sha256(b"").hexdigest()
    assert (tmp_path / "out").read_bytes() == b""


def test_a_large_file_travels_in_parts(store: ObjectStore, base: str, tmp_path: Path) -> None:
    data = secrets.token_bytes(1024 * 1024) * 40  # above two parts of 16 MiB
    (tmp_path / "in").write_bytes(data)
    store.put_file(base + "large", tmp_path / "in")
    assert store.fetch(base + "large", tmp_path / "out") == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "out").read_bytes() == data


def test_an_absent_object_is_not_found(store: ObjectStore, base: str, tmp_path: Path) -> None:
    store.put_bytes(base + "file", b"x")
    for key in (base + "absent", base + "no/folder", base + "file/below", base.rstrip("/")):
        for act in (store.get_bytes, store.stat, store.version, lambda key: store.fetch(key, tmp_path / "out")):
            with pytest.raises(NotFound) as caught:
                act(key)
            assert caught.value.code == "object_not_found"
        store.delete(key)
    assert not (tmp_path / "out").exists()
    assert store.get_bytes(base + "file") == b"x"


def test_a_deleted_object_is_gone_between_stat_and_fetch(store: ObjectStore, base: str, tmp_path: Path) -> None:
    store.put_bytes(base + "a", b"x")
    store.stat(base + "a")
    store.delete(base + "a")
    store.delete(base + "a")
    with pytest.raises(NotFound):
        store.fetch(base + "a", tmp_path / "out", max_bytes=10)
    assert listed(store, base, 10) == []


def test_fetch_stops_at_the_limit_and_leaves_nothing(store: ObjectStore, base: str, tmp_path: Path) -> None:
    store.put_bytes(base + "a", b"x" * 11)
    with pytest.raises(LimitExceeded, match="10 bytes"):
        store.fetch(base + "a", tmp_path / "out", max_bytes=10)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the transfer manager drops what it was reading
def test_an_object_that_grew_after_its_size_was_asked(
    s3_store: ObjectStore, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.put_bytes(base + "a", b"x" * 40_000_000)
    monkeypatch.setattr(s3_store, "stat", lambda key: ObjectInfo(key, 0, "", 0))
    with pytest.raises(LimitExceeded):
        s3_store.fetch(base + "a", tmp_path / "out", max_bytes=10)
    assert not (tmp_path / "out").exists()
    gc.collect()  # while the filter holds


def test_a_receiver_counts_what_it_takes(tmp_path: Path) -> None:
    def take() -> None:
        with Receiver(tmp_path / "out", 10) as receiver:
            receiver.expect(10)
            receiver.write(b"x" * 10)
            receiver.write(b"x")

    with pytest.raises(LimitExceeded):
        take()
    assert not (tmp_path / "out").exists()


def test_fetching_into_a_folder_that_is_absent_is_not_a_missing_object(
    store: ObjectStore, base: str, tmp_path: Path
) -> None:
    store.put_bytes(base + "a", b"x")
    with pytest.raises(FileNotFoundError):
        store.fetch(base + "a", tmp_path / "no" / "out")
    with pytest.raises(FileNotFoundError):
        store.put_file(base + "b", tmp_path / "absent")
    assert listed(store, base, 10) == [base + "a"]


def test_version_and_signature_follow_the_content(store: ObjectStore, base: str) -> None:
    store.put_bytes(base + "a", b"one")
    first, signature = store.version(base + "a"), store.stat(base + "a").signature
    assert store.stat(base + "a").signature == signature
    store.put_bytes(base + "a", b"two")
    assert store.version(base + "a") != first
    assert store.stat(base + "a").signature != signature
    store.put_bytes(base + "a", b"one")
    assert store.version(base + "a") == first


def test_a_version_that_listing_tells_is_the_objects_version(store: ObjectStore, base: str) -> None:
    store.put_bytes(base + "a", b"one")
    (listed,) = store.list_page(base).objects
    for info in (listed, store.stat(base + "a")):
        assert info.version in {None, store.version(base + "a")}


def test_an_object_that_was_written_again_is_not_fetched_as_what_it_was(
    store: ObjectStore, base: str, tmp_path: Path
) -> None:
    store.put_bytes(base + "a", b"one")
    version = store.version(base + "a")
    assert store.fetch(base + "a", tmp_path / "out", version=version) == hashlib.sha256(b"one").hexdigest()
    store.put_bytes(base + "a", b"two")
    with pytest.raises(Conflict) as caught:
        store.fetch(base + "a", tmp_path / "out", version=version)
    assert caught.value.code == "object_changed"
    assert not (tmp_path / "out").exists()


def test_an_object_that_is_written_again_while_it_is_fetched(
    s3_store: ObjectStore, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.put_bytes(base + "a", b"one")
    version = s3_store.version(base + "a")
    read = s3_store._client.download_fileobj

    def overwritten_first(*arguments: object, **keywords: object) -> None:
        s3_store.put_bytes(base + "a", b"two")
        read(*arguments, **keywords)

    monkeypatch.setattr(s3_store._client, "download_fileobj", overwritten_first)
    with pytest.raises(Conflict):
        s3_store.fetch(base + "a", tmp_path / "out", version=version)
    assert not (tmp_path / "out").exists()


def test_settled_seconds_are_never_negative(store: ObjectStore, base: str) -> None:
    store.put_bytes(base + "a", b"one")
    assert store.stat(base + "a").settled_seconds >= 0


ODD_NAMES = [
    "ü",
    "日本語.wav",
    "😀",
    "a b+c%20&d=e?f#g",
    "new\nline",
    "tab\t",
    "quo'te\"",
    "back\\slash",
    "~",
    "a:b",
    "%2e%2e",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(store: ObjectStore, base: str, name: str, tmp_path: Path) -> None:
    if "\n" in name and not isinstance(store, LocalStore):
        pytest.skip("moto's server has no route for a path with a newline; S3 has (the key goes percent-encoded)")
    key = f"{base}{name}/{name}.wav"
    store.put_bytes(key, b"x")
    assert listed(store, base, 10) == [key]
    assert listed(store, f"{base}{name}/", 1) == [key]
    assert store.fetch(key, tmp_path / "out") == hashlib.sha256(b"x").hexdigest()
    store.delete(key)
    assert listed(store, base, 10) == []


@pytest.mark.parametrize("key", ["", "a/", "a\0b", "\ud800", "x/" * 600 + "x", "é/" * 400 + "x"])
def test_keys_that_no_store_takes(store: ObjectStore, key: str) -> None:
    for act in (store.get_bytes, lambda key: store.put_bytes(key, b"x"), store.stat, store.delete):
        with pytest.raises(BadRequest) as caught:
            act(key)
        assert caught.value.code == "bad_key"


def test_a_key_of_a_thousand_characters(store: ObjectStore, base: str) -> None:
    key = (base + "x/" * 500)[:999] + "x"
    store.put_bytes(key, b"x")
    assert listed(store, base, 10) == [key]


def test_writers_of_one_key_at_the_same_time(store: ObjectStore, base: str) -> None:
    bodies = [bytes([number]) * 300_000 for number in range(4)]
    store.put_bytes(base + "a", bodies[0])
    ready = threading.Barrier(6)

    def write(body: bytes) -> None:
        ready.wait()
        for _ in range(8):
            store.put_bytes(base + "a", body)

    def read() -> None:
        ready.wait()
        for _ in range(20):
            assert store.get_bytes(base + "a") in bodies

    with ThreadPoolExecutor(6) as pool:
        for future in [*(pool.submit(write, body) for body in bodies), pool.submit(read), pool.submit(read)]:
            future.result()
    assert store.get_bytes(base + "a") in bodies
    assert listed(store, base, 10) == [base + "a"]


def test_pages_over_2500_keys(store: ObjectStore, base: str) -> None:
    keys = [f"{base}{number % 7}/{number:05}" for number in range(2500)]
    for key in keys:
        if isinstance(store, LocalStore):
            (store.root / key).parent.mkdir(parents=True, exist_ok=True)
            (store.root / key).touch()
        else:  # straight into moto's memory: 2,500 requests would take 13 s
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("mill", "below/this/" + key, b"")
    first = store.list_page(base, limit=1000)
    assert len(first.objects) == 1000
    assert first.next_after == first.objects[-1].key
    assert listed(store, base, 1000) == in_key_order(keys)


def test_keys_around_the_slash_sort_by_bytes(store: ObjectStore, base: str) -> None:
    # '-' < '/' < '0', and U+FFFD < U+1F600 in UTF-8 but not in UTF-16.
    keys = [
        base + name
        for name in ("a-", "a-x/z", "a/b", "a/b-/c", "a/b0", "a0", "a/é", "a\ufffd", "a😀", "A", "a.x", "a+")
    ]
    for key in keys:
        store.put_bytes(key, b"")
    for limit in (1, 2, 3, 100):
        assert listed(store, base, limit) == in_key_order(keys)
    for prefix in (base + "a", base + "a/", base + "a-", base + "a/b", base + "a/b-/", base + "b", base + "a/b0/"):
        assert listed(store, prefix, 2) == in_key_order([key for key in keys if key.startswith(prefix)])
    for after in ("a", "a-", "a.", "a/", "a/b", "a/zzz", "a/b-/c", "a0", "zz", "", "\U0010ffff"):
        found = [info.key for info in store.list_page(base, after=base + after).objects]
        assert found == in_key_order([key for key in keys if key.encode() > (base + after).encode()])


def test_after_before_the_prefix(store: ObjectStore, base: str) -> None:
    store.put_bytes(base + "b", b"")
    assert [info.key for info in store.list_page(base + "b", after="a").objects] == [base + "b"]
    assert store.list_page(base + "b", after="zzz").objects == ()


segment = st.text(alphabet="a-/0.é😀\ufffd A", min_size=1, max_size=6)


def usable(keys: set[str]) -> bool:
    """Keys that both stores take: no empty or hidden part, none that is a folder of another."""
    names = [name for key in keys for name in key.split("/")]
    folders = {key[:at] for key in keys for at, char in enumerate(key) if char == "/"}
    return all(name and not name.startswith(".") for name in names) and not folders & keys


@given(keys=st.sets(segment, min_size=1, max_size=8).filter(usable), limit=st.integers(1, 4), data=st.data())
@example(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_pages_concatenated_are_the_sorted_keys(
    store: ObjectStore, keys: set[str], limit: int, data: st.DataObject
) -> None:
    base = f"h/{secrets.token_hex(8)}/"
    for key in keys:
        store.put_bytes(base + key, b"")
    assert listed(store, base, limit) == in_key_order([base + key for key in keys])
    chosen = data.draw(st.sampled_from(sorted(keys)))
    prefix = base + chosen[: data.draw(st.integers(0, len(chosen)))]
    assert listed(store, prefix, limit) == in_key_order([base + key for key in keys if (base + key).startswith(prefix)])


def test_a_page_of_nothing_is_refused(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="at least one"):
        store.list_page("", limit=0)
    with pytest.raises(ValueError, match="at least a second"):
        store.signed_get("a", seconds=0)


def test_ready(store: ObjectStore) -> None:
    store.ready()


# --- only in the local directory


@pytest.fixture
def own(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store", secret="secret", public_url="http://api.test/")


@pytest.mark.parametrize(
    "key", ["/a", "a//b", "..", "../a", "a/../b", "a/..", "./a", "a/.", "x" * 256, "é" * 128, "a/" + "😀" * 64]
)
def test_a_key_that_is_no_safe_path_is_refused_with_a_reason(own: LocalStore, key: str) -> None:
    for act in (own.get_bytes, lambda key: own.put_bytes(key, b"x"), own.delete, own.path_for, own.version):
        with pytest.raises(BadRequest, match="Rename the file") as caught:
            act(key)
        assert caught.value.code == "bad_key"
    assert not [path for path in own.root.parent.rglob("*") if path.is_file()]
    assert own.list_page(key).objects == ()


@pytest.mark.parametrize("key", [".hidden", "a/.b/c", "a.part", "a.TMP", "a.crdownload"])
def test_what_listing_leaves_out_cannot_be_put(own: LocalStore, key: str) -> None:
    with pytest.raises(BadRequest, match="dot or ends like"):
        own.put_bytes(key, b"x")
    (own.root / key).parent.mkdir(parents=True, exist_ok=True)
    (own.root / key).write_bytes(b"x")
    own.put_bytes("z", b"x")
    assert listed(own, "", 1) == ["z"]


def test_a_file_and_a_folder_of_one_name_clash_with_a_reason(own: LocalStore) -> None:
    own.put_bytes("a", b"1")
    own.put_bytes("b/c", b"2")
    for key in ("a/b", "a/b/c", "b"):
        with pytest.raises(BadRequest, match="folder has that name"):
            own.put_bytes(key, b"3")
    assert listed(own, "", 10) == ["a", "b/c"]
    assert not list(own.root.rglob("*.tmp"))


def test_links_are_never_followed(own: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (own.root / "inbox").mkdir()
    (own.root / "inbox/folder").symlink_to(outside)
    (own.root / "inbox/file").symlink_to(outside / "secret")
    (own.root / "inbox/loop").symlink_to(own.root / "inbox")
    assert listed(own, "", 10) == []
    assert listed(own, "inbox/folder/", 10) == []
    for key in ("inbox/folder/secret", "inbox/file", "inbox/loop/file"):
        for act in (own.get_bytes, own.stat, own.path_for, lambda key: own.fetch(key, tmp_path / "out")):
            with pytest.raises(NotFound):
                act(key)
    with pytest.raises(BadRequest):
        own.put_bytes("inbox/folder/new", b"x")
    own.delete("inbox/folder/secret")
    own.put_bytes("inbox/file", b"ours")  # takes the link's place, not its target's
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
    assert own.get_bytes("inbox/file") == b"ours"


def test_a_root_that_is_a_link_is_the_operators_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = LocalStore(tmp_path / "store", secret="secret", public_url="http://api.test")
    store.put_bytes("a", b"x")
    assert store.path_for("a") == tmp_path / "disk" / "a"


def test_a_pipe_in_the_inbox_holds_nobody_up(own: LocalStore) -> None:
    os.mkfifo(own.root / "pipe")
    assert listed(own, "", 10) == []
    with pytest.raises(NotFound):
        own.get_bytes("pipe")


def test_a_name_that_is_not_utf8_is_left_out(own: LocalStore) -> None:
    (own.root / "a").touch()
    Path(os.fsdecode(os.fsencode(own.root) + b"/\xff.wav")).touch()
    (own.root / "b").touch()
    assert listed(own, "", 1) == ["a", "b"]


def test_a_file_set_back_in_time_is_not_settled_before_it_is(own: LocalStore) -> None:
    (own.root / "a").write_bytes(b"x")
    before = own.stat("a").signature
    os.utime(own.root / "a", (0, 0))
    assert own.stat("a").settled_seconds < 3600
    assert own.stat("a").signature != before


def test_a_page_reads_only_the_folders_that_it_needs(own: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in range(50):
        (own.root / f"inbox/{folder:02}").mkdir(parents=True)
        for number in range(3):
            (own.root / f"inbox/{folder:02}/{number}").touch()
    opened: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(
        "audiomill.storage.local_listing.os.scandir", lambda folder: (opened.append(str(folder)), scandir(folder))[1]
    )
    page = own.list_page("inbox/", after="inbox/20/1", limit=4)
    assert [found.key for found in page.objects] == ["inbox/20/2", "inbox/21/0", "inbox/21/1", "inbox/21/2"]
    # The inbox, 20, 21 and 22 (is there more?), not the 50.
    assert [folder.removeprefix(str(own.root)) for folder in opened] == [
        "/inbox",
        "/inbox/20",
        "/inbox/21",
        "/inbox/22",
    ]


def test_a_writer_that_fails_leaves_the_old_object_and_no_rest(own: LocalStore) -> None:
    own.put_bytes("a/b", b"old")

    def write() -> None:
        with own.writing("a/b") as file:
            file.write(b"new")
            assert own.get_bytes("a/b") == b"old"
            raise OSError("the client hung up")

    with pytest.raises(OSError, match="the client hung up"):
        write()
    assert own.get_bytes("a/b") == b"old"
    assert [path.name for path in (own.root / "a").iterdir()] == ["b"]


def test_a_disk_that_is_full_is_the_operators(own: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("audiomill.storage.local_files.os.fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left") as caught:
        own.put_bytes("a", b"x")
    assert caught.value.code == "store_full"
    monkeypatch.undo()
    assert list(own.root.iterdir()) == []


def test_a_store_without_room_is_not_ready(own: LocalStore) -> None:
    """A disk that is full takes some bytes all the same. Here it is the kernel that allows a file so much, no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    own.ready()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        own.put_bytes("a", b"x")
        with pytest.raises(StorageUnavailable, match="cannot be written"):
            own.ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in own.root.iterdir()] == ["a"]


def test_a_file_that_may_not_be_read_is_not_a_store_that_is_away(
    own: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.put_bytes("inbox/a", b"x")

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    # Not by chmod: the tests may run as root, who reads all.
    monkeypatch.setattr("audiomill.storage.local_files.open_file", refused)
    with pytest.raises(BadRequest) as caught:
        own.version("inbox/a")
    assert caught.value.code == "object_unreadable"


def test_a_store_whose_disk_went_says_so(own: LocalStore) -> None:
    own.put_bytes("a", b"x")
    own.root.rename(own.root.with_name("elsewhere"))
    for act in (lambda: own.get_bytes("a"), lambda: own.put_bytes("b", b""), own.ready):
        with pytest.raises(StorageUnavailable):
            act()


def token_of(url: str) -> str:
    prefix, _, token = url.rpartition("/")
    assert prefix == "http://api.test/v1/objects"
    assert re.fullmatch(r"[A-Za-z0-9_.\-]+", token)
    return token


def test_a_signed_url_grants_what_it_says(own: LocalStore) -> None:
    key = "outputs/ü 😀/a\nb.srt"
    get = own.signed_get(key, seconds=60, filename="Füße.srt")
    grant = own.open_token(token_of(get.url), "GET")
    assert (grant.key, grant.filename, grant.media_type, grant.seconds) == (key, "Füße.srt", MEDIA_TYPES["srt"], 60)
    put = own.signed_put(key, seconds=60, size_bytes=5, media_type="audio/wav")
    assert put.headers == {"Content-Type": "audio/wav", "Content-Length": "5"}
    grant = own.open_token(token_of(put.url), "PUT")
    assert (grant.key, grant.size_bytes, grant.media_type) == (key, 5, "audio/wav")


def test_a_signed_url_grants_nothing_else(own: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = token_of(own.signed_get("a", seconds=60).url)
    other = LocalStore(tmp_path / "store", secret="another secret", public_url="http://api.test")
    for store, text, method in (
        (own, token, "PUT"),
        (other, token, "GET"),
        (own, "", "GET"),
        (own, "a.b.c", "GET"),
        (own, "\ud800é\0", "GET"),
        (own, token[:-1] + ("A" if token[-1] != "A" else "Q"), "GET"),
        (own, "A" + token, "GET"),
    ):
        with pytest.raises(Unauthorized) as caught:
            store.open_token(text, method)
        assert caught.value.code == "url_invalid"
    now = time.time()
    monkeypatch.setattr("audiomill.storage.grants.time.time", lambda: now + 61)
    with pytest.raises(Unauthorized, match="expired") as caught:
        own.open_token(token, "GET")
    assert caught.value.code == "url_expired"


def test_the_factory_keeps_one_secret_for_all_processes(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_store(chosen), range(16)))
    token = stores[0].signed_get("a", seconds=60).url.rpartition("/")[2]
    assert all(isinstance(store, LocalStore) and store.open_token(token, "GET") for store in stores)
    (key,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_bytes(b"\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        open_store(chosen)
    assert open_store(Settings(data_dir=tmp_path, secret="given"))


# --- only in S3


def test_signed_urls_work_over_http(s3_store: ObjectStore, base: str) -> None:
    key = base + "ü 😀.wav"
    put = s3_store.signed_put(key, seconds=60, size_bytes=5, media_type="audio/wav")
    assert httpx.put(put.url, content=b"sound", headers=dict(put.headers)).status_code == 200
    assert s3_store.get_bytes(key) == b"sound"
    answer = httpx.get(s3_store.signed_get(key, seconds=60, filename='Füße "1"\r\nX: y.wav').url)
    assert answer.content == b"sound"
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Fue _1___X: y.wav\"; filename*=UTF-8''F%C3%BC%C3%9Fe%20%221%22%0D%0AX%3A%20y.wav"
    )


def test_a_signed_put_binds_size_and_type(s3_store: ObjectStore) -> None:
    # moto does not check signatures: what is signed is read from the URL (S3 refuses requests that differ in it).
    put = s3_store.signed_put("a", seconds=60, size_bytes=5, media_type="audio/wav")
    query = parse_qs(urlsplit(put.url).query)
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {"content-length", "content-type", "host"}
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["60"]
    other = s3_store.signed_put("a", seconds=60, size_bytes=6, media_type="audio/wav")
    assert parse_qs(urlsplit(other.url).query)["X-Amz-Signature"] != query["X-Amz-Signature"]
    assert s3_store.signed_get("a", seconds=30 * 86400).expires_seconds == 7 * 86400


def test_folder_markers_are_not_objects(s3_store: ObjectStore, base: str) -> None:
    for name in ("", "a/", "b/"):
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("mill", "below/this/" + base + name, b"")
    s3_store.put_bytes(base + "a/x", b"")
    assert listed(s3_store, base, 1) == [base + "a/x"]


def test_everything_lies_below_the_prefix(s3_store: ObjectStore, base: str) -> None:
    s3_store.put_bytes(base + "a", b"")
    assert s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object("mill", "below/this/" + base + "a")


def test_an_object_store_that_does_not_answer_is_the_operators(tmp_path: Path, aws_credentials: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with closing(S3Store(StorageSettings(kind="s3", endpoint_url=url), attempts=1)) as store:
            for act in (store.ready, lambda: store.get_bytes("a"), lambda: store.fetch("a", tmp_path / "out")):
                with pytest.raises(StorageUnavailable, match="does not answer"):
                    act()
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_not_there_is_the_operators(s3_server: str) -> None:
    with closing(S3Store(StorageSettings(kind="s3", bucket="other", endpoint_url=s3_server))) as store:
        for act in (store.ready, lambda: store.put_bytes("a", b"")):
            with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
                act()


def test_the_factory_opens_s3(s3_server: str, tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path, storage={"kind": "s3", "bucket": "mill", "endpoint_url": s3_server})
    with closing(open_store(chosen)) as store:
        store.ready()
    assert list(tmp_path.iterdir()) == []
