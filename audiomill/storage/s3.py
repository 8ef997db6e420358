"""The object store in an S3 bucket, or anything that speaks S3. The only place that imports boto3."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from audiomill.errors import BadRequest, NotFound, StorageUnavailable
from audiomill.settings import StorageSettings
from audiomill.storage.http_headers import content_disposition
from audiomill.storage.receiving import Receiver
from audiomill.storage.store import Draft, DraftPage, ObjectInfo, Page, SignedUrl, object_changed

MAX_KEY_BYTES = 1024
"""Amazon S3 user guide, object key names; the prefix counts."""
MAX_URL_SECONDS = 7 * 86400
"""The longest life of a signature of version 4. With a role's credentials a URL dies with them, hours earlier."""
_ABSENT = {"404", "NoSuchKey", "NoSuchUpload", "NotFound"}
_ARCHIVED = "InvalidObjectState"
_BUSY = {"RequestTimeout", "TooManyRequests", "408", "429"}
_PART_BYTES = 16 * 1024 * 1024  # 10,000 parts at most: objects up to 160 GB
_TRANSFERS = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


class S3Store:
    """Implements ObjectStore. One instance may be used from many threads; make another after a fork.

    `version` is the entity tag: by content for what is written here (with SSE-KMS it changes with every write).
    `signature` is the tag and the second of writing: listing shows no more, and versions' ids would cost a request
    for each object. Objects appear whole, so they are always settled. Keys that end with `/` (the consoles' folder
    markers) are not objects: a page may hold fewer than asked, or none, and still have a `next_after`.
    """

    def __init__(self, settings: StorageSettings, *, attempts: int = 5) -> None:
        """Credentials by boto3's own chain. `attempts`: tries of one request. Asks the network nothing."""
        self._bucket = settings.bucket
        self._prefix = settings.prefix.strip("/") + "/" if settings.prefix.strip("/") else ""
        # Other servers than Amazon's refuse the checksums that newer boto3 adds to every request.
        checksums: dict[str, Any] = (
            {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
            if settings.endpoint_url
            else {}
        )
        with _mapped(""):
            self._client: Any = boto3.client(
                "s3",
                endpoint_url=settings.endpoint_url,
                region_name=settings.region or ("us-east-1" if settings.endpoint_url else None),
                config=Config(
                    signature_version="s3v4",
                    retries={"mode": "adaptive", "total_max_attempts": attempts},
                    s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
                    connect_timeout=5,
                    read_timeout=60,
                    max_pool_connections=32,
                    **checksums,
                ),
            )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def put_bytes(self, key: str, data: bytes, *, media_type: str = "application/octet-stream") -> None:
        """Write an object whole."""
        with _mapped(key):
            self._client.put_object(**self._at(key), Body=data, ContentType=media_type)

    def put_file(self, key: str, path: Path, *, media_type: str = "application/octet-stream") -> None:
        """Write an object whole from a file, large ones in parts. Raises FileNotFoundError when it is absent."""
        place = self._at(key)
        with path.open("rb") as file, _mapped(key):
            self._client.upload_fileobj(
                file, place["Bucket"], place["Key"], ExtraArgs={"ContentType": media_type}, Config=_TRANSFERS
            )

    def get_bytes(self, key: str) -> bytes:
        """Read a small object whole."""
        place, buffer = self._at(key), io.BytesIO()
        with self._reading(key):
            # Not get_object: the transfer manager also retries a connection that breaks while the body is read.
            self._client.download_fileobj(place["Bucket"], place["Key"], buffer, Config=_TRANSFERS)
        return buffer.getvalue()

    def fetch(self, key: str, path: Path, *, max_bytes: int | None = None, version: str | None = None) -> str:
        """Copy an object to a file, large ones in parts, and return its SHA-256. Asks for the tag before and after."""
        place = self._at(key)
        with Receiver(path, max_bytes) as receiver:
            if max_bytes is not None or version is not None:
                receiver.expect(self._unchanged(key, version).size_bytes)
            with self._reading(key):
                # The receiver cannot seek, so the transfer manager hands it the parts in order: hashed as they come.
                self._client.download_fileobj(place["Bucket"], place["Key"], receiver, Config=_TRANSFERS)
            if version is not None:
                self._unchanged(key, version)
        return receiver.sha256

    def _unchanged(self, key: str, version: str | None) -> ObjectInfo:
        info = self.stat(key)
        if version is not None and info.version != version:
            raise object_changed(key)
        return info

    def stat(self, key: str) -> ObjectInfo:
        """What listing would show."""
        with self._reading(key):
            head = self._client.head_object(**self._at(key))
        return _info(key, head["ContentLength"], _tag(head), head["LastModified"])

    def version(self, key: str) -> str:
        """The entity tag."""
        return str(self.stat(key).version)

    def list_page(self, prefix: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """A page in key order, of at most 1,000 objects, which is S3's own limit."""
        if limit < 1:
            raise ValueError(f"a page holds at least one object, not {limit}")
        bound = {"StartAfter": self._prefix + after} if after is not None else {}
        with _mapped(prefix):
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=min(limit, 1000), **bound
            )
        objects = tuple(
            _info(row["Key"].removeprefix(self._prefix), row["Size"], _tag(row), row["LastModified"])
            for row in answer.get("Contents", [])
        )
        more = _place(objects[-1].key) if answer.get("IsTruncated") and objects else None
        return Page(tuple(found for found in objects if found.key and not found.key.endswith("/")), more)

    def delete(self, key: str) -> None:
        """Remove an object; harmless when it is absent."""
        with _mapped(key):
            self._client.delete_object(**self._at(key))

    def drafts(self, *, after: str | None, limit: int) -> DraftPage:  # noqa: ARG002 - the protocol's
        """Uploads in parts that did not end. Looked for from the beginning each time: they are few, and go."""
        with _mapped(""):
            answer = self._client.list_multipart_uploads(
                Bucket=self._bucket, Prefix=self._prefix, MaxUploads=min(limit, 1000)
            )
            found = [
                Draft(
                    row["Key"].removeprefix(self._prefix),
                    sum(part["Size"] for part in self._parts(row["Key"], row["UploadId"])),
                    _age_seconds(row["Initiated"]),
                    row["UploadId"],
                )
                for row in answer.get("Uploads", [])
            ]
        return DraftPage(tuple(found), None)

    def discard(self, draft: Draft) -> None:
        """Give an upload in parts up, with the parts that came."""
        place = {"Bucket": self._bucket, "Key": self._prefix + draft.name, "UploadId": draft.upload_id}
        try:
            with _mapped(draft.name):
                self._client.abort_multipart_upload(**place)
        except NotFound:
            return

    def _parts(self, key: str, upload_id: str) -> list[dict[str, Any]]:
        answer = self._client.list_parts(Bucket=self._bucket, Key=key, UploadId=upload_id)
        return list(answer.get("Parts", []))

    def signed_get(self, key: str, *, seconds: int, filename: str | None = None) -> SignedUrl:
        """A URL to read the object. Made here, without asking whether the object exists."""
        params = self._at(key)
        if filename is not None:
            params["ResponseContentDisposition"] = content_disposition(filename)
        return self._signed("get_object", "GET", params, seconds, {})

    def signed_put(self, key: str, *, seconds: int, size_bytes: int, media_type: str) -> SignedUrl:
        """A URL to write the object. Size and type are signed headers: S3 refuses a request with others."""
        params = {**self._at(key), "ContentType": media_type, "ContentLength": size_bytes}
        headers = {"Content-Type": media_type, "Content-Length": str(size_bytes)}
        return self._signed("put_object", "PUT", params, seconds, headers)

    def ready(self) -> None:
        """Raises StorageUnavailable when the bucket cannot be listed."""
        with _mapped(""):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """As `_mapped`; what the store refuses of one object, while it answers otherwise, is no outage."""
        with _mapped(key):
            try:
                yield
            except ClientError as error:
                code = _code(error)
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in {*_BUSY, "NoSuchKey"}:
                    raise
                # A bucket that is gone, or credentials that were revoked, refuse each object alike; and the answer to
                # HEAD has no more than a number.
                self.ready()
                if code in _ABSENT:
                    raise
                raise _refused(key, code) from error

    def _signed(
        self, operation: str, method: str, params: dict[str, Any], seconds: int, headers: dict[str, str]
    ) -> SignedUrl:
        if seconds < 1:
            raise ValueError(f"a signed URL lives at least a second, not {seconds}")
        life = min(seconds, MAX_URL_SECONDS)
        with _mapped(params["Key"]):
            url = self._client.generate_presigned_url(operation, Params=params, ExpiresIn=life, HttpMethod=method)
        return SignedUrl(cast("str", url), method, life, headers)

    def _at(self, key: str) -> dict[str, Any]:
        try:
            size = len((self._prefix + key).encode())
        except UnicodeEncodeError:
            raise _bad_key("it is not valid Unicode text") from None
        if not key or key.endswith("/") or "\0" in key:
            raise _bad_key("it is empty, ends with a slash or has a zero character")
        if size > MAX_KEY_BYTES:
            raise _bad_key(f"with the prefix it has {size} bytes, and {MAX_KEY_BYTES} are allowed")
        return {"Bucket": self._bucket, "Key": self._prefix + key}


def _bad_key(why: str) -> BadRequest:
    return BadRequest(f"The object name cannot be used: {why}. Rename the file.", code="bad_key")


def _refused(key: str, code: str) -> BadRequest:
    if code == _ARCHIVED:
        return BadRequest(
            f"The object {key!r} lies in an archive of the object store and cannot be read. Restore it there, or send "
            "it again, and order it again.",
            code="object_archived",
        )
    return BadRequest(
        f"The object store does not give {key!r} to audiomill ({code}): it may not read it, or not use the key that it "
        "is encrypted with. Allow it there, or send it again, and order it again.",
        code="object_unreadable",
    )


def _info(key: str, size_bytes: int, tag: str, modified: datetime) -> ObjectInfo:
    # Some servers list fractions of a second that HEAD does not tell.
    written = f"{tag}-{int(modified.timestamp())}"
    return ObjectInfo(key, int(size_bytes), written, math.inf, tag, written, _age_seconds(modified))


def _age_seconds(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


def _place(key: str) -> str:
    """Where a listing goes on after a key. No database holds U+0000: past all keys that have it in the same place."""
    before, odd, _ = key.partition("\0")
    return before + "\1" if odd else key


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _tag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


@contextmanager
def _mapped(key: str) -> Iterator[None]:
    """boto3's errors as errors of the store, after its own retries. Theirs go no further: their texts hold the key."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in _ABSENT:
            raise NotFound(f"There is no object {key!r}.", code="object_not_found") from error
        raise StorageUnavailable(f"The object store refused: {code or 'it did not say why'}.") from None
    except (BotoCoreError, Boto3Error) as error:
        raise StorageUnavailable(f"The object store does not answer ({type(error).__name__}).") from None
