"""The statements of an order, as psycopg takes them: what it is decided by, and all that it makes. Who sends them and
what is decided in between is in submission.py.
"""

from audiomill.accounts.space import KEPT_BYTES
from audiomill.jobs.availability import WORDS
from audiomill.jobs.speeds import SPEEDS

PRIOR = """
    SELECT id AS submission_id, request_sha256,
        (SELECT array_agg(id ORDER BY position) FROM jobs WHERE submission_id = submissions.id) AS job_ids
    FROM submissions WHERE workspace_id = %(workspace)s AND idempotency_key = %(idempotency_key)s
"""
# What an order adds to what is kept: objects that are neither recordings nor uploads of its workspace yet.
KNOWN = f"""
    SELECT workspaces.id, tier, allowed_bytes, {KEPT_BYTES} AS kept_bytes, ({WORDS}) AS words, ({SPEEDS}) AS speeds,
        prior.*,
        coalesce((
            SELECT sum(size_bytes)
            FROM unnest(%(keys)s::text[], %(versions)s::text[], %(sizes)s::bigint[]) AS new (key, version, size_bytes)
            WHERE NOT EXISTS (
                SELECT FROM recordings
                WHERE workspace_id = %(workspace)s AND object_key = key AND object_version = version
            ) AND NOT EXISTS (
                SELECT FROM uploads WHERE workspace_id = %(workspace)s AND object_key = key AND NOT ordered
            )
        ), 0) AS brought_bytes
    FROM workspaces LEFT JOIN ({PRIOR}) AS prior ON true
    WHERE workspaces.id = %(workspace)s
"""  # noqa: S608 - statements of our own
# Each part reads from the one before, so nothing is written where the key is taken; and one that was taken a moment
# ago is waited for. A recording that is there already is locked, so that no sweep takes it meanwhile.
MAKE = """
    WITH submission AS (
        INSERT INTO submissions (id, workspace_id, source, idempotency_key, request_sha256)
        SELECT %(submission)s, id, %(source)s, %(idempotency_key)s, %(request_sha256)s
        FROM workspaces WHERE id = %(workspace)s
        ON CONFLICT (workspace_id, idempotency_key) DO NOTHING
        RETURNING id, workspace_id
    ), recording AS (
        INSERT INTO recordings (id, workspace_id, object_key, object_version, size_bytes, sha256)
        SELECT given.id, submission.workspace_id, object_key, object_version, size_bytes, sha256
        FROM submission, jsonb_to_recordset(%(recordings)s)
            AS given (id text, object_key text, object_version text, size_bytes bigint, sha256 text)
        ORDER BY object_key COLLATE "C", object_version COLLATE "C"
        ON CONFLICT (workspace_id, object_key, object_version) DO UPDATE SET size_bytes = excluded.size_bytes
        RETURNING id, object_key, object_version
    ), planned AS (
        SELECT given.* FROM submission, jsonb_to_recordset(%(plans)s)
            AS given (plan integer, parameters jsonb, steps jsonb)
    ), input AS (
        SELECT given.*, recording.id AS recording_id FROM submission, jsonb_to_recordset(%(inputs)s)
            AS given (job_id text, role text, position integer, first boolean, object_key text, object_version text,
                      filename text)
            JOIN recording USING (object_key, object_version)
    ), job AS (
        INSERT INTO jobs (id, workspace_id, submission_id, position, recording_id, filename, recipe, capability,
                          parameters, plan, tier, stage, step, event_seq)
        SELECT given.id, submission.workspace_id, submission.id, given.position, input.recording_id, given.filename,
               recipe, capability, parameters, steps, %(tier)s, stage, step, 1
        FROM submission, jsonb_to_recordset(%(jobs)s)
            AS given (id text, position integer, plan integer, filename text, recipe text, capability text, stage text,
                      step text)
            JOIN planned USING (plan)
            JOIN input ON input.job_id = given.id AND first
        ORDER BY given.position
        RETURNING id, stage
    ), event AS (
        INSERT INTO job_events (job_id, seq, state, stage, progress) SELECT id, 1, 'queued', stage, 0 FROM job
    ), brought AS (
        INSERT INTO job_inputs (job_id, role, position, recording_id, filename)
        SELECT job_id, role, position, recording_id, filename FROM input
    ), item AS (
        INSERT INTO work_items (id, job_id, workspace_id, step, stage, state, waits_for, optional, delivers, weight,
                                engine, model, resource_class, tier, length_class, lane, audio_seconds,
                                expected_seconds, options, reads)
        SELECT given.id, job_id, workspace_id, step, stage, state, waits_for, optional, delivers, weight,
               engine, model, resource_class, tier, length_class, lane, audio_seconds, expected_seconds,
               steps -> 'steps' -> place -> 'options', steps -> 'steps' -> place -> 'reads'
        FROM jsonb_to_recordset(%(items)s)
            AS given (id text, job_id text, workspace_id text, plan integer, place integer, step text, stage text,
                      state text, waits_for integer, optional boolean, delivers boolean, weight double precision,
                      engine text, model text, resource_class text, tier integer, length_class text, lane text,
                      audio_seconds double precision, expected_seconds double precision)
            JOIN planned USING (plan)
    )
    SELECT id FROM submission
"""
