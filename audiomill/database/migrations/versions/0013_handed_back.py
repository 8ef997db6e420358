"""Items that are handed back through a fault of ours: how often, and why, so that it ends, and is seen before."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "work_items",
        sa.Column(
            "hand_backs",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="times that it went back alone, through a fault of ours: past a bound it is given up",
        ),
    )
    op.add_column("work_items", sa.Column("hand_back_note", sa.Text(), comment="why it went back last, for operators"))
    op.create_index(
        "ix_work_items_handed_back",
        "work_items",
        ["hand_backs"],
        postgresql_where=sa.text("hand_backs > 0 AND state IN ('queued', 'batched', 'running')"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_work_items_handed_back", "work_items")
    op.drop_column("work_items", "hand_back_note")
    op.drop_column("work_items", "hand_backs")
