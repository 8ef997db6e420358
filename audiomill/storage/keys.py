"""The key layout: which object lies where. The only place that builds or reads keys."""

import re

INBOX = "inbox/"
UPLOADS = "uploads/"
TEXTS = "texts/"
ARTIFACTS = "artifacts/"
OUTPUTS = "outputs/"
BATCHES = "batches/"
TABLES = "tables/"

_OUTPUT = re.compile(r"outputs/[^/]+/([^/]+)/v\d+\.\d+/[^/]+")
_ARTIFACT = re.compile(r"artifacts/[^/]+/[^/]+/[0-9a-f]{2}/([0-9a-f]{64})-[0-9a-f]{16}(\.[^/]+)?")
_INPUT = re.compile(r"(?:uploads|texts)/([^/]+)/[^/]+")
_BATCH = re.compile(r"batches/([^/]+)/\d+/[^/]+")


def upload_key(workspace_id: str, upload_id: str) -> str:
    """Where a client's upload is written."""
    return f"uploads/{workspace_id}/{upload_id}"


def text_key(workspace_id: str, sha256: str) -> str:
    """Where a text given inline is kept."""
    return f"texts/{workspace_id}/{sha256}.txt"


def artifact_key(workspace_id: str, stage: str, key: str, sha256: str, suffix: str) -> str:
    """Where a stage's result is kept. `sha256` of its bytes, `suffix` with its dot.

    The bytes are part of the name: two jobs that make the same thing at the same time, on a GPU with other last bits,
    must not overwrite what the other has recorded.
    """
    return f"artifacts/{workspace_id}/{stage}/{key[:2]}/{key}-{sha256[:16]}{suffix}"


def output_key(workspace_id: str, job_id: str, version: int, attempt: int, name: str) -> str:
    """Where a deliverable is kept. Names are ours (`transcript.srt`), never the customer's."""
    return f"outputs/{workspace_id}/{job_id}/v{version}.{attempt}/{name}"


def batch_key(batch_id: str, fencing: int, name: str) -> str:
    """Where the manifest and the picture of a batch's run are kept."""
    return f"batches/{batch_id}/{fencing}/{name}"


def table_key(table: str, day: str) -> str:
    """Where a daily Parquet table is kept. `day` is ISO 8601."""
    return f"tables/{table}/{day}.parquet"


def job_of_output(key: str) -> str | None:
    """The job that a deliverable was written for; None for a key that is not of our making, here and below."""
    return _group(_OUTPUT, key)


def making_of_artifact(key: str) -> str | None:
    """The making key of a stage's result."""
    return _group(_ARTIFACT, key)


def workspace_of_input(key: str) -> str | None:
    """The workspace that an upload or a text was given by."""
    return _group(_INPUT, key)


def batch_of_file(key: str) -> str | None:
    """The batch that a manifest or a picture is of."""
    return _group(_BATCH, key)


def _group(pattern: re.Pattern[str], key: str) -> str | None:
    found = pattern.fullmatch(key)
    return found.group(1) if found else None
