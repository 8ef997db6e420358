"""What workspaces keep in the store is counted: by triggers, as changes that are only added (accounts/space.py)."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Of a row: what it counts. `{}` is the name of the row, with its dot.
_COUNTED = {
    "recordings": "{}size_bytes",
    "uploads": "CASE WHEN {}ordered THEN 0 ELSE {}size_bytes END",
    "artifacts": "coalesce({}size_bytes, 0)",
}
_MAY_CHANGE = {"recordings": "size_bytes", "uploads": "size_bytes, ordered", "artifacts": "size_bytes"}


def _count(table: str, counted: str, workspace: str = "workspace_id", join: str = "") -> None:
    """Insertions and deletions by statement, so that an order of a thousand is one change."""
    op.execute(
        f"""
        CREATE FUNCTION count_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO usage_changes (workspace_id, bytes)
                SELECT {workspace}, sum({counted}) FROM became AS changed {join} GROUP BY 1 HAVING sum({counted}) <> 0;
            ELSE
                INSERT INTO usage_changes (workspace_id, bytes)
                SELECT {workspace}, -sum({counted}) FROM was AS changed {join} GROUP BY 1 HAVING sum({counted}) <> 0;
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER count_inserted AFTER INSERT ON {table} REFERENCING NEW TABLE AS became
            FOR EACH STATEMENT EXECUTE FUNCTION count_{table}();
        CREATE TRIGGER count_deleted AFTER DELETE ON {table} REFERENCING OLD TABLE AS was
            FOR EACH STATEMENT EXECUTE FUNCTION count_{table}();
        """  # noqa: S608 - names of our own
    )


def _count_changes(table: str, counted: str) -> None:
    """Changes by row, and only where the size may change: completions update rows, and pay nothing for this."""
    became, was = counted.replace("{}", "NEW."), counted.replace("{}", "OLD.")
    op.execute(
        f"""
        CREATE FUNCTION count_changed_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO usage_changes (workspace_id, bytes) VALUES (NEW.workspace_id, ({became}) - ({was}));
            RETURN NULL;
        END $$;
        CREATE TRIGGER count_changed AFTER UPDATE OF {_MAY_CHANGE[table]} ON {table} FOR EACH ROW
            WHEN (({became}) <> ({was})) EXECUTE FUNCTION count_changed_{table}();
        """  # noqa: S608 - names of our own
    )


def upgrade() -> None:
    """Apply. What is there is counted; results made before have no size until `audiomill workspaces recount`."""
    op.create_table(
        "workspace_usage",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_workspace_usage_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_workspace_usage")),
    )
    op.create_table(
        "usage_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_changes")),
    )
    op.create_index(op.f("ix_usage_changes_workspace_id"), "usage_changes", ["workspace_id"])
    op.add_column(
        "workspaces",
        sa.Column(
            "allowed_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="what it may keep in the store; NULL: the setting limits.workspace_bytes",
        ),
    )
    op.add_column(
        "uploads",
        sa.Column(
            "ordered",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="a recording has its object, and is counted in its stead",
        ),
    )
    op.add_column(
        "artifacts",
        sa.Column(
            "size_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="NULL: made before sizes were noted, and not measured since",
        ),
    )
    # Whoever writes waits until what is there was counted.
    op.execute("LOCK TABLE jobs, uploads, recordings, artifacts, outputs IN SHARE ROW EXCLUSIVE MODE")
    op.execute(
        "UPDATE uploads SET ordered = true WHERE EXISTS (SELECT FROM recordings "
        "WHERE recordings.workspace_id = uploads.workspace_id AND recordings.object_key = uploads.object_key)"
    )
    op.execute(
        """
        INSERT INTO workspace_usage (workspace_id, bytes)
        SELECT workspace_id, sum(size_bytes) FROM (
            SELECT workspace_id, size_bytes FROM recordings
            UNION ALL SELECT workspace_id, size_bytes FROM uploads WHERE NOT ordered
            UNION ALL SELECT jobs.workspace_id, outputs.size_bytes FROM outputs JOIN jobs ON jobs.id = outputs.job_id
        ) AS kept GROUP BY 1
        """
    )
    for table, counted in _COUNTED.items():
        _count(table, counted.replace("{}", "changed."))
        _count_changes(table, counted)
    # An output's workspace is its job's. When a job goes it is gone before its outputs, which the cascade takes: what
    # they counted is taken back while it is there.
    _count("outputs", "changed.size_bytes", "jobs.workspace_id", "JOIN jobs ON jobs.id = changed.job_id")
    op.execute(
        """
        CREATE FUNCTION count_outputs_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO usage_changes (workspace_id, bytes)
            SELECT OLD.workspace_id, -sum(size_bytes) FROM outputs WHERE job_id = OLD.id HAVING sum(size_bytes) <> 0;
            RETURN OLD;
        END $$;
        CREATE TRIGGER count_outputs BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION count_outputs_of_job();
        """
    )


def downgrade() -> None:
    """Take back."""
    for table in (*_COUNTED, "outputs"):
        op.execute(f"DROP FUNCTION count_{table} CASCADE")
    for table in _COUNTED:
        op.execute(f"DROP FUNCTION count_changed_{table} CASCADE")
    op.execute("DROP FUNCTION count_outputs_of_job CASCADE")
    op.drop_column("artifacts", "size_bytes")
    op.drop_column("uploads", "ordered")
    op.drop_column("workspaces", "allowed_bytes")
    op.drop_table("usage_changes")
    op.drop_table("workspace_usage")
