"""An engine's speed as the median of what workspaces saw, so that none of them bends it for the others."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. What was measured until now holds until a batch is measured anew."""
    op.create_table(
        "workspace_speeds",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False, comment="'' where the engine has no choice"),
        sa.Column("resource_class", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("audio_seconds", sa.Double(), nullable=False),
        sa.Column("engine_seconds", sa.Double(), nullable=False),
        sa.Column(
            "measured_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_workspace_speeds_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("engine", "model", "resource_class", "workspace_id", name=op.f("pk_workspace_speeds")),
    )
    op.create_index(op.f("ix_workspace_speeds_workspace_id"), "workspace_speeds", ["workspace_id"])
    op.create_index(
        "ix_workspace_speeds_newest",
        "workspace_speeds",
        ["engine", "model", "resource_class", sa.literal_column("measured_at DESC")],
    )
    op.add_column(
        "engine_speeds",
        sa.Column("factor", sa.Double(), nullable=True, comment="engine seconds for a second of sound"),
    )
    op.execute("UPDATE engine_speeds SET factor = engine_seconds / audio_seconds")
    op.alter_column("engine_speeds", "factor", nullable=False)
    op.drop_column("engine_speeds", "audio_seconds")
    op.drop_column("engine_speeds", "engine_seconds")


def downgrade() -> None:
    """Take back."""
    op.add_column("engine_speeds", sa.Column("audio_seconds", sa.Double(), nullable=False, server_default="1"))
    op.add_column("engine_speeds", sa.Column("engine_seconds", sa.Double(), nullable=False, server_default="0"))
    op.execute("UPDATE engine_speeds SET engine_seconds = factor")
    op.alter_column("engine_speeds", "audio_seconds", server_default=None)
    op.alter_column("engine_speeds", "engine_seconds", server_default=None)
    op.drop_column("engine_speeds", "factor")
    op.drop_table("workspace_speeds")
