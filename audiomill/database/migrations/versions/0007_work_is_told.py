"""Work is told: whoever queues an item, or leaves a batch without a run, wakes the sensor that waits for it."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Equal notifications of one transaction are sent once."""
    op.execute(
        """
        CREATE FUNCTION tell_work() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('audiomill_work', ''); RETURN NULL; END $$
        """
    )
    op.execute(
        "CREATE TRIGGER work_items_queued_first AFTER INSERT ON work_items "
        "FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION tell_work()"
    )
    op.execute(
        "CREATE TRIGGER work_items_queued_again AFTER UPDATE OF state ON work_items "
        "FOR EACH ROW WHEN (NEW.state = 'queued' AND OLD.state <> 'queued') EXECUTE FUNCTION tell_work()"
    )
    op.execute(
        "CREATE TRIGGER batches_without_run AFTER INSERT OR UPDATE OF state, requested_at ON batches "
        "FOR EACH ROW WHEN (NEW.state = 'formed' AND NEW.requested_at IS NULL) EXECUTE FUNCTION tell_work()"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER batches_without_run ON batches")
    op.execute("DROP TRIGGER work_items_queued_again ON work_items")
    op.execute("DROP TRIGGER work_items_queued_first ON work_items")
    op.execute("DROP FUNCTION tell_work()")
