"""Revisions of jobs: which there are, which revision made each item's result, what each item's customer is to know."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Jobs of before have one revision, their order; of their outputs nobody needs to know the step."""
    op.create_table(
        "revisions",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False, comment="the revision that it was made from"),
        sa.Column("edited_lines", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True, comment="a sentence for the customer"),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "revision", name=op.f("pk_revisions")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_revisions_job_id"), ondelete="CASCADE"),
        sa.CheckConstraint("state IN ('open', 'complete', 'failed', 'cancelled')", name=op.f("ck_revisions_state")),
    )
    op.create_index(
        "uq_revisions_open", "revisions", ["job_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.add_column(
        "work_items",
        sa.Column(
            "made_in",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="the revision that made its result: an earlier one where nothing that it reads changed",
        ),
    )
    op.add_column(
        "work_items",
        sa.Column(
            "warnings",
            JSONB(),
            server_default="[]",
            nullable=False,
            comment="those of its job that it found",
        ),
    )
    op.add_column(
        "outputs",
        sa.Column("step", sa.Text(), nullable=True, comment="that made it; NULL: made before jobs had revisions"),
    )


def downgrade() -> None:
    """Take back. Jobs stay with the revision that they were ordered as."""
    op.execute("DELETE FROM work_items WHERE revision > 1")
    op.execute("DELETE FROM outputs WHERE version > 1")
    op.execute("UPDATE jobs SET revision = 1 WHERE revision > 1")
    op.drop_column("outputs", "step")
    op.drop_column("work_items", "warnings")
    op.drop_column("work_items", "made_in")
    op.drop_table("revisions")
