"""Blame needs proof: interruptions and proven crashes of an item apart, pauses of lanes, a run's process, no splits."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. A batch has one run now; what a broken one left open goes back to its lane."""
    op.create_table(
        "lane_pauses",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column(
            "breaks",
            sa.Integer(),
            nullable=False,
            comment="one after the other, without an item that ended: doubles the pause",
        ),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False, comment="what broke last, for operators"),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_lane_pauses")),
    )
    op.add_column(
        "work_items",
        sa.Column(
            "interruptions",
            sa.Integer(),
            comment="times that it was begun and its run died, or gave it back: nobody's fault",
            server_default="0",
            nullable=False,
        ),
    )
    op.add_column(
        "work_items",
        sa.Column(
            "crashes",
            sa.Integer(),
            comment="times that a run died, or hung, while this was inside an engine call: proven",
            server_default="0",
            nullable=False,
        ),
    )
    op.add_column(
        "work_items",
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=True, comment="given back: not batched before"),
    )
    op.add_column(
        "batches",
        sa.Column(
            "worker",
            sa.Text(),
            nullable=True,
            comment="its process: machine, process id, start (jobs/batches/workers.py)",
        ),
    )
    # Batches that wait for another attempt were asked for under a key of an attempt's: their items find new ones.
    op.execute(
        "UPDATE work_items SET state = 'queued', batch_id = NULL, started_at = NULL FROM batches "
        "WHERE batches.id = work_items.batch_id AND batches.state = 'formed' AND batches.attempt > 1 "
        "AND work_items.state IN ('batched', 'running')"
    )
    op.execute(
        "UPDATE batches SET state = 'cancelled', finished_at = clock_timestamp(), "
        "note = 'Its items went back to their lane at an upgrade.' WHERE state = 'formed' AND attempt > 1"
    )
    op.drop_column("batches", "attempt")
    op.drop_column("batches", "parent_id")
    op.alter_column("batches", "requested_at", comment="a run was asked for")
    op.alter_column("batches", "note", comment="why it ended, for operators")


def downgrade() -> None:
    """Take back."""
    op.alter_column("batches", "note", comment="why it ended or began again, for operators")
    op.alter_column("batches", "requested_at", comment="a run was asked for in this attempt")
    op.add_column(
        "batches",
        sa.Column("parent_id", sa.Text(), nullable=True, comment="the batch that this one was split from"),
    )
    op.add_column(
        "batches",
        sa.Column(
            "attempt",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="a new one each time that a run broke",
        ),
    )
    op.drop_column("batches", "worker")
    op.drop_column("work_items", "available_at")
    op.drop_column("work_items", "crashes")
    op.drop_column("work_items", "interruptions")
    op.drop_table("lane_pauses")
