"""The migrations make exactly the tables that the code declares, and can be taken back."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from audiomill.database.connection import Database
from audiomill.database.migrate import alembic_config, upgrade
from audiomill.database.tables import Base, Job, JobInput, WorkItem
from audiomill.jobs.batches import leases, working
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.batches.working import ArtifactRecord, PartRecord
from audiomill.jobs.queries import get_job
from audiomill.jobs.revisions import revise
from audiomill.settings import Settings
from tests.fakes.orders import result


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrations_go_back_and_forth(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    upgrade(database.engine)
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_an_installation_of_the_spine_upgrades_with_its_jobs(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0001")
    with database.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO workspaces (id, name) VALUES ('acme', 'acme');"
                "INSERT INTO recordings (id, workspace_id, kind, object_key, object_version, filename, size_bytes) "
                "VALUES ('rec', 'acme', 'text', 'texts/acme/a.txt', 'v', 'greeting.txt', 5);"
                "INSERT INTO submissions (id, workspace_id, source, idempotency_key, request_sha256) "
                "VALUES ('sub', 'acme', 'api', 'k', 'h');"
                "INSERT INTO jobs (id, workspace_id, submission_id, position, recording_id, recipe, capability, "
                "parameters, stage) "
                "VALUES ('job', 'acme', 'sub', 0, 'rec', 'synthesize', 'synthesize', '{}', 'synthesize');"
            )
        )
    upgrade(database.engine)
    with database.session() as session:
        assert session.scalars(select(Job.filename)).all() == ["greeting.txt"]
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0001")
        assert connection.execute(text("SELECT kind, filename FROM recordings")).all() == [("text", "greeting.txt")]
    upgrade(database.engine)


def test_what_was_measured_of_an_engine_holds_until_it_is_measured_anew(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), _BEFORE_SPEEDS_OF_WORKSPACES)
        connection.execute(text("INSERT INTO engine_speeds VALUES ('espeak-ng', '', 'cpu', 1000, 20)"))
    upgrade(database.engine)
    with database.engine.begin() as connection:
        assert connection.execute(text("DELETE FROM engine_speeds RETURNING factor")).scalars().all() == [0.02]


def test_batches_that_waited_for_another_attempt_find_new_ones(database: Database) -> None:
    """An installation of before: a batch asked for a second time, and one that was split from it."""
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), _BEFORE_ONE_RUN_A_BATCH)
        connection.execute(text("INSERT INTO workspaces (id, name) VALUES ('w', 'w')"))
        connection.execute(
            text(
                "INSERT INTO submissions (id, workspace_id, source, idempotency_key, request_sha256) "
                "VALUES ('s', 'w', 'api', 'k', 'x')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds, "
                "attempt, state)"
                " VALUES ('once', 'l', 'transcribe', 'e', 'cpu', 1, 1, 1, 'formed'),"
                " ('twice', 'l', 'transcribe', 'e', 'cpu', 1, 1, 2, 'formed')"
            )
        )
        for number, batch in enumerate(("once", "twice")):
            connection.execute(text(_RECORDING), {"id": f"r{number}"})
            connection.execute(text(_JOB), {"id": f"j{number}", "recording": f"r{number}", "position": number})
            connection.execute(text(_ITEM), {"id": f"i{number}", "job": f"j{number}", "batch": batch})
    upgrade(database.engine)
    with database.engine.connect() as connection:
        items = connection.execute(text("SELECT state, batch_id FROM work_items ORDER BY id")).all()
        batches = connection.execute(text("SELECT id, state FROM batches ORDER BY id")).all()
    assert [tuple(row) for row in items] == [("batched", "once"), ("queued", None)]
    assert [tuple(row) for row in batches] == [("once", "formed"), ("twice", "cancelled")]


def test_jobs_of_one_stage_become_jobs_of_one_step(database: Database, settings: Settings) -> None:
    """An installation of before with what waits, what is at work, and what has ended: it goes on."""
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0015")
        connection.execute(text("TRUNCATE workspaces CASCADE"))
        connection.execute(text("TRUNCATE batches CASCADE"))
        for statement in _BEFORE_STEPS:
            connection.execute(text(statement))
    upgrade(database.engine)
    with database.session() as session:
        items = session.scalars(select(WorkItem).order_by(WorkItem.id)).all()
        assert [(item.step, item.revision, item.reads, item.waits_for, item.delivers) for item in items] == [
            ("transcribe", 1, ["input:source"], 0, True)
        ] * 3
        assert [item.progress for item in items] == [0, 0.4, 1]
        assert {item.options["language"] for item in items} == {"en"}
        jobs = session.scalars(select(Job).order_by(Job.id)).all()
        assert [(job.step, job.revision, job.progress) for job in jobs] == [
            ("transcribe", 1, 0),
            ("transcribe", 1, 0.4),
            ("transcribe", 1, 1),
        ]
        (step,) = jobs[0].plan["steps"]
        assert (step["name"], step["reads"], step["engine"]) == ("transcribe", ["input:source"], "pocketsphinx")
        inputs = session.scalars(select(JobInput).order_by(JobInput.job_id)).all()
        assert [(each.role, each.position, each.recording_id, each.filename) for each in inputs] == [
            ("source", 0, f"r{number}", "a.wav") for number in range(3)
        ]
    with database.session() as session:
        claim = leases.claim(session, batch_id="b", stage="transcribe", run_id="again", settings=settings)
        (item,) = claim.items
        assert (item.kind, item.object_key, item.filename) == ("audio", "r1", "a.wav")
        working.begin(session, claim, [item.id])
        assert working.complete(session, claim, item.id, result(item, claim))
    with database.session() as session:
        assert get_job(session, "w", "j1").state == "complete"
        assert len(form_batches(session, settings)) == 1
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0015")
        assert connection.execute(text("SELECT stage, state FROM work_items ORDER BY id")).all() == [
            ("transcribe", "batched"),
            ("transcribe", "complete"),
            ("transcribe", "complete"),
        ]
    upgrade(database.engine)


def test_jobs_of_one_revision_go_on_and_may_be_edited(database: Database, settings: Settings) -> None:
    """An installation of before: a job of two steps that is complete, and one whose second step is at work."""
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), _BEFORE_REVISIONS)
        connection.execute(text("TRUNCATE workspaces CASCADE"))
        connection.execute(text("TRUNCATE batches CASCADE"))
        for statement in _JOBS_OF_STEPS:
            connection.execute(text(statement))
    upgrade(database.engine)
    with database.session() as session:
        view = get_job(session, "w", "j0")
        assert (view.state, view.revision, [output.name for output in view.outputs]) == ("complete", 1, ["b.txt"])
        assert [each["revision"] for each in view.revisions] == [1]
        assert {(item.made_in, tuple(item.warnings)) for item in session.scalars(select(WorkItem))} == {(1, ())}
        claim = leases.claim(session, batch_id="b", stage="synthesize", run_id="again", settings=settings)
        (item,) = claim.items
        assert (item.job_id, item.step, item.revision) == ("j1", "b", 1)
        working.begin(session, claim, [item.id])
        assert working.complete(session, claim, item.id, result(item, claim))
    with database.session() as session:
        assert get_job(session, "w", "j1").state == "complete"
        part = PartRecord("artifacts/edited", "4" * 64, 1, "text/plain")
        edited = ArtifactRecord("edited", part.object_key, part.sha256, 1, {}, {"x": part})
        base = {"workspace_id": "w", "job_id": "j0", "base": 1, "edited_lines": 1, "settings": settings}
        assert revise(session, replaced={"a": edited}, **base) == 2
    with database.session() as session:
        assert [output.name for output in get_job(session, "w", "j0").outputs] == ["b.txt"]
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), _BEFORE_REVISIONS)
        rows = connection.execute(text("SELECT job_id, step, state FROM work_items ORDER BY job_id, step")).all()
        assert rows == [(job, step, "complete") for job in ("j0", "j1") for step in ("a", "b")]
    upgrade(database.engine)


_ITEM_OF_BEFORE = (
    "INSERT INTO work_items (id, job_id, workspace_id, stage, engine, resource_class, tier, length_class, lane, "
    "audio_seconds, state, batch_id) "
)
_BEFORE_STEPS = (
    "INSERT INTO workspaces (id, name) VALUES ('w', 'w')",
    (
        "INSERT INTO submissions (id, workspace_id, source, idempotency_key, request_sha256) "
        "VALUES ('s', 'w', 'api', 'k', 'x')"
    ),
    (
        "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds, state) "
        "VALUES ('b', 'l', 'transcribe', 'pocketsphinx', 'cpu', 2, 1, 'formed')"
    ),
    (
        "INSERT INTO recordings (id, workspace_id, object_key, object_version, size_bytes) "
        "SELECT 'r' || n, 'w', 'r' || n, 'v', 1 FROM generate_series(0, 2) AS n"
    ),
    (
        "INSERT INTO jobs (id, workspace_id, submission_id, position, recording_id, filename, recipe, capability, "
        "stage, parameters, state, progress, event_seq) SELECT 'j' || n, 'w', 's', n, 'r' || n, 'a.wav', 'transcribe', "
        '\'transcribe\', \'transcribe\', \'{"engine": "pocketsphinx", "language": "en"}\', '
        "(ARRAY['queued', 'running', 'complete'])[n + 1], (ARRAY[0, 0.4, 1])[n + 1], 1 FROM generate_series(0, 2) AS n"
    ),
    (
        f"{_ITEM_OF_BEFORE} SELECT 'i' || n, 'j' || n, 'w', 'transcribe', 'pocketsphinx', 'cpu', 0, 'short', "
        "'transcribe|pocketsphinx|-|cpu|0|short', 1, (ARRAY['queued', 'running', 'complete'])[n + 1], "
        "(ARRAY[NULL, 'b', 'b'])[n + 1] FROM generate_series(0, 2) AS n"
    ),
)
_BEFORE_REVISIONS = "0016"
_JOBS_OF_STEPS = (
    *_BEFORE_STEPS[:2],
    (
        "INSERT INTO batches (id, lane, stage, engine, resource_class, item_count, audio_seconds, state) "
        "VALUES ('b', 'l', 'synthesize', 'espeak-ng', 'cpu', 1, 1, 'formed')"
    ),
    _BEFORE_STEPS[3],
    (
        "INSERT INTO jobs (id, workspace_id, submission_id, position, recording_id, filename, recipe, capability, "
        "stage, step, plan, parameters, state, progress, event_seq) SELECT 'j' || n, 'w', 's', n, 'r' || n, 'a.txt', "
        "'synthesize', 'synthesize', 'synthesize', (ARRAY['b', 'a'])[n + 1], '{\"steps\": []}', '{}', "
        "(ARRAY['complete', 'running'])[n + 1], (ARRAY[1, 0.5])[n + 1], 1 FROM generate_series(0, 1) AS n"
    ),
    (
        "INSERT INTO job_inputs (job_id, role, position, recording_id, filename) "
        "SELECT 'j' || n, 'source', 0, 'r' || n, 'a.txt' FROM generate_series(0, 1) AS n"
    ),
    (
        "INSERT INTO artifacts (key, workspace_id, stage, object_key, sha256, size_bytes, details) "
        "SELECT 'made' || n, 'w', 'synthesize', 'artifacts/' || n, 'h', 1, '{}' FROM generate_series(0, 2) AS n"
    ),
    (
        "INSERT INTO work_items (id, job_id, workspace_id, step, stage, options, reads, delivers, engine, "
        "resource_class, tier, length_class, lane, audio_seconds, state, progress, batch_id, artifact_key) "
        "SELECT 'i' || n, 'j' || n / 2, 'w', (ARRAY['a', 'b'])[n % 2 + 1], 'synthesize', '{}', "
        "(ARRAY['[\"input:source\"]', '[\"a/result\"]'])[n % 2 + 1]::jsonb, n % 2 = 1, 'espeak-ng', 'cpu', 0, 'short', "
        "'l', 1, (ARRAY['complete', 'complete', 'complete', 'batched'])[n + 1], (ARRAY[1, 1, 1, 0])[n + 1], "
        "CASE WHEN n = 3 THEN 'b' END, CASE WHEN n < 3 THEN 'made' || n END FROM generate_series(0, 3) AS n"
    ),
    (
        "INSERT INTO outputs (id, job_id, name, object_key, media_type, size_bytes, sha256) "
        "VALUES ('o', 'j0', 'b.txt', 'outputs/b.txt', 'text/plain', 1, 'h')"
    ),
)
_BEFORE_SPEEDS_OF_WORKSPACES = "0014"
_BEFORE_ONE_RUN_A_BATCH = "0008"
_RECORDING = (
    "INSERT INTO recordings (id, workspace_id, object_key, object_version, size_bytes) VALUES (:id, 'w', :id, 'v', 1)"
)
_JOB = (
    "INSERT INTO jobs (id, workspace_id, submission_id, position, recording_id, recipe, capability, parameters, stage, "
    "filename) VALUES (:id, 'w', 's', :position, :recording, 'transcribe', 'transcribe', '{}', 'transcribe', "
    "'a.wav')"
)
_ITEM = (
    "INSERT INTO work_items (id, job_id, workspace_id, stage, engine, resource_class, tier, length_class, lane, "
    "audio_seconds, state, batch_id) VALUES (:id, :job, 'w', 'transcribe', 'e', 'cpu', 0, 'short', 'l', 1, 'batched', "
    ":batch)"
)
