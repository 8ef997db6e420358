"""Retention: what a workspace keeps, where the sweeps stand, when a result was used, when an inbox object was gone."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Results that are there count as used now."""
    op.create_table(
        "sweeps",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=True, comment="NULL: at the beginning"),
        sa.Column("swept_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sweeps")),
    )
    op.add_column(
        "workspaces",
        sa.Column(
            "retention_days",
            sa.Integer(),
            nullable=True,
            comment="jobs that ended longer ago go, with outputs and recordings; NULL: kept",
        ),
    )
    op.add_column(
        "artifacts",
        sa.Column(
            "used_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="made, or recalled by a run that may refer to it",
        ),
    )
    op.add_column(
        "inbox_entries",
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True, comment="the object was found to be gone"),
    )
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"])
    op.create_index(
        "ix_work_items_artifact",
        "work_items",
        ["artifact_key"],
        postgresql_where=sa.text("artifact_key IS NOT NULL"),
    )
    op.create_index(
        "ix_inbox_entries_place", "inbox_entries", ["object_key"], postgresql_ops={"object_key": "text_pattern_ops"}
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_inbox_entries_place", table_name="inbox_entries")
    op.drop_index("ix_work_items_artifact", table_name="work_items")
    op.drop_index(op.f("ix_uploads_expires_at"), table_name="uploads")
    op.drop_column("inbox_entries", "gone_at")
    op.drop_column("artifacts", "used_at")
    op.drop_column("workspaces", "retention_days")
    op.drop_table("sweeps")
