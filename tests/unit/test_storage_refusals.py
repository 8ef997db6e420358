"""What S3 refuses of one object is that object's reason; what it refuses of the bucket, or not at all, is an outage."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.stub import Stubber

from audiomill.errors import BadRequest, NotFound, StorageUnavailable
from audiomill.settings import StorageSettings
from audiomill.storage.s3 import S3Store

LISTED = {"Contents": [], "IsTruncated": False, "KeyCount": 0}
KEY = "inbox/acme/transcribe/my private talk.wav"


@pytest.fixture
def store(aws_credentials: None) -> Iterator[S3Store]:
    chosen = StorageSettings(kind="s3", bucket="mill", region="us-east-1")
    with closing(S3Store(chosen, attempts=1)) as store:
        yield store


@pytest.fixture
def answers(store: S3Store) -> Iterator[Stubber]:
    with Stubber(store._client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


OBJECT = [
    ("InvalidObjectState", 403, "object_archived"),
    ("AccessDenied", 403, "object_unreadable"),
    ("403", 403, "object_unreadable"),
    ("KMS.DisabledException", 400, "object_unreadable"),
    ("KMS.NotFoundException", 400, "object_unreadable"),
    ("KMS.KMSInvalidStateException", 400, "object_unreadable"),
    ("MethodNotAllowed", 405, "object_unreadable"),
    ("405", 405, "object_unreadable"),
    ("400", 400, "object_unreadable"),
    ("InvalidRequest", 400, "object_unreadable"),
]


WAYS = [("stat", "head_object"), ("get_bytes", "head_object"), ("fetch", "head_object")]
"""Each way to read an object, and the request that it begins with."""


def reads(store: S3Store, tmp_path: Path) -> dict[str, Callable[[], object]]:
    return {
        "stat": lambda: store.stat(KEY),
        "get_bytes": lambda: store.get_bytes(KEY),
        "fetch": lambda: store.fetch(KEY, tmp_path / "out", max_bytes=10),
    }


@pytest.mark.parametrize(("way", "first"), WAYS)
@pytest.mark.parametrize(("code", "status", "ours"), OBJECT)
def test_what_is_refused_of_one_object_is_its_own_reason(
    store: S3Store, answers: Stubber, tmp_path: Path, way: str, first: str, code: str, status: int, ours: str
) -> None:
    answers.add_client_error(first, service_error_code=code, http_status_code=status)
    answers.add_response("list_objects_v2", LISTED)
    with pytest.raises(BadRequest) as caught:
        reads(store, tmp_path)[way]()
    assert caught.value.code == ours
    assert "order it again" in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("way", "first"), WAYS)
@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("ExpiredToken", 400), ("404", 404), ("403", 403)])
def test_what_is_refused_of_the_bucket_too_is_an_outage(
    store: S3Store, answers: Stubber, tmp_path: Path, way: str, first: str, code: str, status: int
) -> None:
    answers.add_client_error(first, service_error_code=code, http_status_code=status)
    answers.add_client_error("list_objects_v2", service_error_code="AccessDenied", http_status_code=403)
    with pytest.raises(StorageUnavailable):
        reads(store, tmp_path)[way]()


@pytest.mark.parametrize(("way", "first"), WAYS)
@pytest.mark.parametrize(
    ("code", "status"), [("InternalError", 500), ("SlowDown", 503), ("500", 500), ("RequestTimeout", 400), ("429", 429)]
)
def test_a_store_that_is_down_or_busy_is_an_outage(
    store: S3Store, answers: Stubber, tmp_path: Path, way: str, first: str, code: str, status: int
) -> None:
    answers.add_client_error(first, service_error_code=code, http_status_code=status)
    with pytest.raises(StorageUnavailable):
        reads(store, tmp_path)[way]()


def test_a_bucket_that_may_not_be_listed_is_an_outage(store: S3Store, answers: Stubber) -> None:
    answers.add_client_error("list_objects_v2", service_error_code="AccessDenied", http_status_code=403)
    with pytest.raises(StorageUnavailable):
        store.list_page("inbox/")


def test_an_object_that_is_absent_is_absent(store: S3Store, answers: Stubber) -> None:
    answers.add_client_error("head_object", service_error_code="404", http_status_code=404)
    answers.add_response("list_objects_v2", LISTED)
    with pytest.raises(NotFound):
        store.stat(KEY)


def test_what_may_not_be_written_is_the_operators(store: S3Store, answers: Stubber) -> None:
    answers.add_client_error("put_object", service_error_code="AccessDenied", http_status_code=403)
    with pytest.raises(StorageUnavailable):
        store.put_bytes(KEY, b"x")


def test_an_outage_does_not_tell_the_customers_file(aws_credentials: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        chosen = StorageSettings(kind="s3", endpoint_url=url)
        with closing(S3Store(chosen, attempts=1)) as store, pytest.raises(StorageUnavailable) as caught:
            store.get_bytes(KEY)
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "private" not in str(shown)
        shown = shown.__cause__


def test_a_place_in_a_listing_is_one_that_a_database_can_hold(store: S3Store, answers: Stubber) -> None:
    row = {"Key": "inbox/a\0b", "Size": 1, "ETag": '"e"', "LastModified": datetime.now(UTC)}
    answers.add_response("list_objects_v2", {"Contents": [row], "IsTruncated": True, "KeyCount": 1})
    page = store.list_page("inbox/", limit=1)
    assert [info.key for info in page.objects] == ["inbox/a\0b"]
    assert page.next_after == "inbox/a\1"
