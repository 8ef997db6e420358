"""What orders must know of an engine is in its worker's word, and each word says how long it holds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. What was said before lacks what must be known, and is said anew at the next start."""
    op.execute("DELETE FROM engine_availability")
    op.add_column("engine_availability", sa.Column("licence", sa.Text(), server_default="", nullable=False))
    op.add_column(
        "engine_availability",
        sa.Column("features", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
    )
    op.add_column(
        "engine_availability", sa.Column("default_model", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
    op.add_column(
        "engine_availability",
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="the word holds until then"),
    )


def downgrade() -> None:
    """Take back."""
    for column in ("expires_at", "default_model", "features", "licence"):
        op.drop_column("engine_availability", column)
