"""What a customer should know of a result that was delivered all the same stands on the job."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Jobs of before have none."""
    op.add_column(
        "jobs",
        sa.Column(
            "warnings",
            postgresql.JSONB(),
            server_default="[]",
            nullable=False,
            comment="code and sentence of each thing that its customer should know of the result",
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("jobs", "warnings")
