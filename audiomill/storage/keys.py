"""The key layout: which object lies where. The only place that builds or reads keys."""

INBOX = "inbox/"


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
