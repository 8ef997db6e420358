"""Filling the tables for figures and tests of growth: a long queue, or a long history. Rows only, no objects.

Needs a superuser (the embedded server's): foreign keys are not checked meanwhile, or most of the time would go there.
"""

from sqlalchemy import Connection, text

RARE = 5000
"""One job in so many failed."""
PER_SUBMISSION = 100


def queue(connection: Connection, *, workspaces: int, items_each: int, lanes: int = 1) -> None:
    """So many workspaces with so many items each, spread over lanes, all queued for CPU."""
    _unchecked(connection)
    connection.execute(
        text(
            """
            INSERT INTO work_items (id, job_id, workspace_id, step, stage, options, reads, engine, model,
                                    resource_class, tier, length_class, lane, audio_seconds, created_at)
            SELECT 'item_' || w || '_' || i, 'job_' || w || '_' || i, 'w' || lpad(w::text, 6, '0'), 'transcribe',
                   'transcribe', '{}', '["input:source"]', 'pocketsphinx', 'm' || (i % :lanes), 'cpu', 0, 'short',
                   'transcribe|pocketsphinx|m' || (i % :lanes) || '|cpu|0|short', 5.0,
                   clock_timestamp() - interval '1 hour' + make_interval(secs => i * 0.001)
            FROM generate_series(1, :workspaces) AS w, generate_series(1, :items) AS i
            """
        ),
        {"workspaces": workspaces, "items": items_each, "lanes": lanes},
    )
    _analysed(connection)


def history(connection: Connection, *, jobs: int, workspaces: int = 100, per_batch: int = 250) -> None:
    """So many finished jobs, a second apart, the newest now: with items, batches, outputs and inbox entries."""
    _unchecked(connection)
    numbers = {"jobs": jobs, "workspaces": workspaces, "rare": RARE, "batch": per_batch, "order": PER_SUBMISSION}
    at = "clock_timestamp() - make_interval(secs => :jobs - n)"
    workspace = "'w' || lpad((n / :order % :workspaces)::text, 6, '0')"
    state = "CASE WHEN n % :rare = 0 THEN 'failed' ELSE 'complete' END"
    for statement in (
        """INSERT INTO workspaces (id, name) SELECT 'w' || lpad(n::text, 6, '0'), 'w'
            FROM generate_series(0, :workspaces - 1) AS n ON CONFLICT DO NOTHING""",
        f"""INSERT INTO submissions (id, workspace_id, source, idempotency_key, request_sha256, created_at)
            SELECT 'sub_' || n / :order, {workspace}, 'inbox', 'k' || n, '', {at}
            FROM generate_series(0, :jobs - 1, :order) AS n""",
        f"""INSERT INTO recordings (id, workspace_id, object_key, object_version, size_bytes, created_at)
            SELECT 'rec_' || n, {workspace}, 'inbox/a/' || n, 'v', 1000, {at}
            FROM generate_series(0, :jobs - 1) AS n""",
        f"""INSERT INTO jobs (id, workspace_id, submission_id, position, recording_id, filename, recipe, capability,
                              parameters, plan, state, stage, step, progress, event_seq, created_at, started_at,
                              finished_at)
            SELECT 'job_' || n, {workspace}, 'sub_' || n / :order, n % :order, 'rec_' || n, 'a.wav', 'transcribe',
                   'transcribe', '{{}}', '{{}}', {state}, 'transcribe', 'transcribe', 1, 3, {at}, {at}, {at}
            FROM generate_series(0, :jobs - 1) AS n""",
        """INSERT INTO job_inputs (job_id, role, position, recording_id, filename)
            SELECT 'job_' || n, 'source', 0, 'rec_' || n, 'a.wav' FROM generate_series(0, :jobs - 1) AS n""",
        f"""INSERT INTO job_events (job_id, seq, state, stage, progress, at)
            SELECT 'job_' || n, seq, 'complete', 'transcribe', 1, {at}
            FROM generate_series(0, :jobs - 1) AS n, generate_series(1, 3) AS seq""",
        f"""INSERT INTO batches (id, lane, stage, engine, resource_class, state, item_count, audio_seconds, run_id,
                                 created_at, finished_at)
            SELECT 'batch_' || n / :batch, 'l', 'transcribe', 'e', 'cpu', 'closed', :batch, 1, 'run_' || n / :batch,
                   {at}, {at}
            FROM generate_series(0, :jobs - 1, :batch) AS n""",
        f"""INSERT INTO work_items (id, job_id, workspace_id, step, stage, options, reads, engine, resource_class, tier,
                                    length_class, lane, audio_seconds, state, batch_id, run_id, artifact_key,
                                    created_at, finished_at)
            SELECT 'item_' || n, 'job_' || n, {workspace}, 'transcribe', 'transcribe', '{{}}', '["input:source"]', 'e',
                   'cpu', 0, 'short', 'l', 1, {state}, 'batch_' || n / :batch, 'run_' || n / :batch,
                   'artifact_' || n, {at}, {at}
            FROM generate_series(0, :jobs - 1) AS n""",
        f"""INSERT INTO artifacts (key, workspace_id, stage, object_key, sha256, details, created_at)
            SELECT 'artifact_' || n, {workspace}, 'transcribe', 'artifacts/' || n, '', '{{}}', {at}
            FROM generate_series(0, :jobs - 1) AS n""",
        f"""INSERT INTO outputs (id, job_id, name, object_key, media_type, size_bytes, sha256, created_at)
            SELECT 'out_' || n, 'job_' || n, 'transcript.txt', 'outputs/' || n, 'text/plain', 10, '', {at}
            FROM generate_series(0, :jobs - 1) AS n""",
        f"""INSERT INTO inbox_entries (object_key, signature, version, outcome, seen_at)
            SELECT 'inbox/a/' || n, 's', 'v', CASE WHEN n % :rare = 0 THEN 'rejected' ELSE 'submitted' END, {at}
            FROM generate_series(0, :jobs - 1) AS n""",
    ):
        connection.execute(text(statement), {name: numbers[name] for name in numbers if f":{name}" in statement})
    _analysed(connection)


def _unchecked(connection: Connection) -> None:
    connection.execute(text("SET LOCAL session_replication_role = replica"))


def _analysed(connection: Connection) -> None:
    connection.execute(text("SET LOCAL session_replication_role = origin"))
    connection.execute(text("ANALYZE"))
