"""a file's name belongs to the job that was ordered with it, and so does what it is taken for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "jobs", sa.Column("filename", sa.Text(), nullable=True, comment="of its input, as this order calls it")
    )
    op.execute("UPDATE jobs SET filename = recordings.filename FROM recordings WHERE recordings.id = recording_id")
    op.alter_column("jobs", "filename", nullable=False)
    op.drop_constraint(op.f("ck_recordings_kind"), "recordings", type_="check")
    op.drop_column("recordings", "kind")
    op.drop_column("recordings", "filename")


def downgrade() -> None:
    """Take back. Of several names of one object, the newest job's stays."""
    op.add_column("recordings", sa.Column("filename", sa.Text(), nullable=False, server_default="unnamed"))
    op.add_column("recordings", sa.Column("kind", sa.Text(), nullable=False, server_default="audio"))
    op.execute(
        "UPDATE recordings SET filename = jobs.filename, "
        "kind = CASE jobs.capability WHEN 'synthesize' THEN 'text' ELSE 'audio' END "
        "FROM (SELECT DISTINCT ON (recording_id) recording_id, filename, capability FROM jobs "
        "ORDER BY recording_id, created_at DESC) AS jobs WHERE jobs.recording_id = recordings.id"
    )
    op.alter_column("recordings", "filename", server_default=None)
    op.alter_column("recordings", "kind", server_default=None)
    op.create_check_constraint(op.f("ck_recordings_kind"), "recordings", "kind IN ('audio', 'text')")
    op.drop_column("jobs", "filename")
