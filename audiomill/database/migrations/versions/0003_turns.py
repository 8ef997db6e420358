"""Whose turn it is when batches are formed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "turns",
        sa.Column("queue", sa.Text(), nullable=False, comment="a lane, or a resource class"),
        sa.Column("last_workspace", sa.Text(), nullable=True, comment="of a lane: the next batch begins after it"),
        sa.Column(
            "contested",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="of a class: batches formed while several tiers waited",
        ),
        sa.Column("served_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_turns")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("turns")
