"""Alembic's environment: runs migrations on the connection that audiomill.database.migrate hands over."""

from alembic import context

from audiomill.database.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
