"""What items will take of their engine: its measured speed, and what each item came to by it when it was ordered."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. What waits is taken to run at a third of real time, as of an engine that was never measured."""
    op.create_table(
        "engine_speeds",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False, comment="'' where the engine has no choice"),
        sa.Column("resource_class", sa.Text(), nullable=False),
        sa.Column("audio_seconds", sa.Double(), nullable=False),
        sa.Column("engine_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("engine", "model", "resource_class", name=op.f("pk_engine_speeds")),
    )
    op.add_column(
        "work_items",
        sa.Column(
            "expected_seconds",
            sa.Double(),
            server_default="0",
            nullable=False,
            comment="of its engine's time, as expected when it was ordered",
        ),
    )
    op.execute("UPDATE work_items SET expected_seconds = audio_seconds / 3 WHERE state = 'queued'")


def downgrade() -> None:
    """Take back."""
    op.drop_column("work_items", "expected_seconds")
    op.drop_table("engine_speeds")
