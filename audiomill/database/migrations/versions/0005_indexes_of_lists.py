"""Indexes of what is asked often: lists by state and for operators, batches to retire, recent inbox entries."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NEWEST: list[sa.ColumnElement[object]] = [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")]


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_jobs_newest_by_state", "jobs", ["workspace_id", "state", *_NEWEST])
    op.create_index("ix_jobs_newest_of_all", "jobs", _NEWEST)
    op.create_index("ix_jobs_newest_of_all_by_state", "jobs", ["state", *_NEWEST])
    op.create_index(
        "ix_batches_retirable",
        "batches",
        ["finished_at"],
        postgresql_where=sa.text("retired_at IS NULL AND state IN ('closed', 'cancelled')"),
    )
    op.create_index("ix_inbox_entries_newest", "inbox_entries", [sa.literal_column("seen_at DESC")])
    op.create_index(
        "ix_inbox_entries_newest_by_outcome", "inbox_entries", ["outcome", sa.literal_column("seen_at DESC")]
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_inbox_entries_newest_by_outcome", table_name="inbox_entries")
    op.drop_index("ix_inbox_entries_newest", table_name="inbox_entries")
    op.drop_index("ix_batches_retirable", table_name="batches")
    op.drop_index("ix_jobs_newest_of_all_by_state", table_name="jobs")
    op.drop_index("ix_jobs_newest_of_all", table_name="jobs")
    op.drop_index("ix_jobs_newest_by_state", table_name="jobs")
