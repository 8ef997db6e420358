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
