"""Jobs of many steps: plans, inputs by role, work items by revision and step, parts of artifacts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. A job of before has one input, its source, and a plan of one step, named as its stage."""
    _inputs()
    _items()
    _plans()
    op.add_column(
        "artifacts",
        sa.Column(
            "parts",
            JSONB(),
            nullable=True,
            comment="its files by name: object_key, sha256, size_bytes, media_type; NULL: one, named result",
        ),
    )


def _inputs() -> None:
    op.create_table(
        "job_inputs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="place within the role"),
        sa.Column("recording_id", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False, comment="as this order calls it"),
        sa.PrimaryKeyConstraint("job_id", "role", "position", name=op.f("pk_job_inputs")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_inputs_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_job_inputs_recording_id")),
    )
    op.execute(
        "INSERT INTO job_inputs (job_id, role, position, recording_id, filename) "
        "SELECT id, 'source', 0, recording_id, filename FROM jobs"
    )
    op.create_index(op.f("ix_job_inputs_recording_id"), "job_inputs", ["recording_id"])
    op.alter_column("jobs", "recording_id", comment="its first input")
    op.alter_column("jobs", "filename", comment="of its first input, as this order calls it")


def _items() -> None:
    for column in (
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("step", sa.Text()),
        sa.Column("options", JSONB(), comment="the step's own, its engine resolved"),
        sa.Column(
            "reads",
            JSONB(),
            server_default=sa.text("""'["input:source"]'"""),
            nullable=False,
            comment="input:<role>, input:<role>*, or <step>/<part>",
        ),
        sa.Column(
            "waits_for",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="steps that it reads and that have not ended",
        ),
        sa.Column(
            "optional",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="its failure is a warning",
        ),
        sa.Column(
            "delivers",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="its files are outputs of the job",
        ),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False, comment="of the job's progress"),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False, comment="share done, 0 to 1"),
    ):
        op.add_column("work_items", column)
    op.execute(
        "UPDATE work_items SET step = work_items.stage, options = jobs.parameters, "
        "progress = CASE work_items.state WHEN 'running' THEN jobs.progress WHEN 'complete' THEN 1 ELSE 0 END "
        "FROM jobs WHERE jobs.id = work_items.job_id"
    )
    op.alter_column("work_items", "step", nullable=False)
    op.alter_column("work_items", "options", nullable=False)
    op.alter_column("work_items", "reads", server_default=None)
    op.alter_column("work_items", "created_at", comment="since when it is queued, or waits")
    op.drop_constraint(op.f("uq_work_items_job_id_stage"), "work_items")
    op.create_unique_constraint(
        op.f("uq_work_items_job_id_revision_step"), "work_items", ["job_id", "revision", "step"]
    )
    op.drop_constraint(op.f("ck_work_items_state"), "work_items")
    op.create_check_constraint(
        op.f("ck_work_items_state"),
        "work_items",
        "state IN ('waiting', 'queued', 'batched', 'running', 'complete', 'failed', 'cancelled')",
    )


def _plans() -> None:
    op.add_column("jobs", sa.Column("step", sa.Text()))
    op.add_column("jobs", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("plan", JSONB()))
    # Of a job without an item (none of ours has none) the parameters say the engine.
    op.execute(
        """
        UPDATE jobs SET step = jobs.stage, plan = jsonb_build_object('steps', jsonb_build_array(jsonb_build_object(
            'name', jobs.stage, 'stage', jobs.stage, 'options', jobs.parameters, 'reads', '["input:source"]'::jsonb,
            'optional', false, 'weight', 1, 'engine', jobs.parameters -> 'engine', 'model', jobs.parameters -> 'model',
            'delivers', true)))
        """
    )
    for name, comment in (
        ("step", "the step that moved last: that is at work, or that it ended with"),
        ("plan", "its steps, frozen at submission, every engine resolved"),
    ):
        op.alter_column("jobs", name, nullable=False, comment=comment)
    op.alter_column("jobs", "revision", comment="the current one")
    op.alter_column("jobs", "stage", comment="the stage of `step`")
    op.alter_column("jobs", "progress", comment="share done of all steps, weighed, 0 to 1")


def downgrade() -> None:
    """Take back. Jobs of several steps have no place in the tables of before: they go."""
    op.drop_column("artifacts", "parts")
    op.execute(
        "DELETE FROM jobs WHERE id IN (SELECT job_id FROM work_items GROUP BY job_id HAVING count(*) > 1 "
        "UNION SELECT job_id FROM job_inputs GROUP BY job_id HAVING count(*) > 1)"
    )
    op.drop_table("job_inputs")
    op.alter_column("jobs", "progress", comment="share done, 0 to 1")
    op.alter_column("jobs", "stage", comment="the stage that it is in, or was in when it ended")
    op.alter_column("jobs", "filename", comment="of its input, as this order calls it")
    op.alter_column("jobs", "recording_id", comment=None)
    for name in ("plan", "revision", "step"):
        op.drop_column("jobs", name)
    op.drop_constraint(op.f("ck_work_items_state"), "work_items")
    op.create_check_constraint(
        op.f("ck_work_items_state"),
        "work_items",
        "state IN ('queued', 'batched', 'running', 'complete', 'failed', 'cancelled')",
    )
    op.drop_constraint(op.f("uq_work_items_job_id_revision_step"), "work_items")
    op.create_unique_constraint(op.f("uq_work_items_job_id_stage"), "work_items", ["job_id", "stage"])
    op.alter_column("work_items", "created_at", comment=None)
    for name in ("progress", "weight", "delivers", "optional", "waits_for", "reads", "options", "step", "revision"):
        op.drop_column("work_items", name)
