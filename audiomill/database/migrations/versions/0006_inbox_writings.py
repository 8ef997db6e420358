"""an inbox entry tells when its object was written, and what waits or has failed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Files of a local folder were signed by size, two times and inode: what was written is the first two.

    Objects of S3 were signed by their entity tag alone; the sweep adds the time when it comes by.
    """
    op.add_column(
        "inbox_entries",
        sa.Column("written", sa.Text(), nullable=True, comment="the part of it that only writing changes"),
    )
    op.execute(
        r"UPDATE inbox_entries SET written = regexp_replace(signature, '^(\d+--?\d+)--?\d+-\d+$', '\1'), "
        r"signature = regexp_replace(signature, '^(\d+--?\d+)--?\d+-(\d+)$', '\1-\2') "
        r"WHERE signature ~ '^\d+--?\d+--?\d+-\d+$'"
    )
    op.drop_constraint(op.f("ck_inbox_entries_outcome"), "inbox_entries", type_="check")
    op.create_check_constraint(
        op.f("ck_inbox_entries_outcome"), "inbox_entries", "outcome IN ('submitted', 'rejected', 'waiting', 'failed')"
    )


def downgrade() -> None:
    """Take back. What waited is found anew."""
    op.execute("DELETE FROM inbox_entries WHERE outcome IN ('waiting', 'failed')")
    op.drop_constraint(op.f("ck_inbox_entries_outcome"), "inbox_entries", type_="check")
    op.create_check_constraint(
        op.f("ck_inbox_entries_outcome"), "inbox_entries", "outcome IN ('submitted', 'rejected')"
    )
    op.drop_column("inbox_entries", "written")
