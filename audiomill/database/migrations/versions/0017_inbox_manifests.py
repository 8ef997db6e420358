"""Inputs that a manifest of the inbox names."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "inbox_entries",
        sa.Column("named_by", sa.Text(), nullable=True, comment="the key of the manifest that names it as an input"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("inbox_entries", "named_by")
