"""an upload is hashed as it comes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. What came before is read when it is ordered."""
    op.add_column(
        "uploads",
        sa.Column(
            "signature", sa.Text(), nullable=True, comment="of the object when its bytes were hashed as they came"
        ),
    )
    op.add_column("uploads", sa.Column("sha256", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("uploads", "sha256")
    op.drop_column("uploads", "signature")
