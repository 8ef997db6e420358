"""The migrations make exactly the tables that the code declares, and can be taken back."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from audiomill.database.connection import Database
from audiomill.database.migrate import alembic_config, upgrade
from audiomill.database.tables import Base, Job


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
