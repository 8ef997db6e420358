"""What runs once a day: the tables of the day before."""

from datetime import timedelta

from dagster import DefaultScheduleStatus, RunRequest, ScheduleEvaluationContext, schedule

from assets.jobs import daily_tables
from ops.discretion import discreet


@schedule(
    name="daily_tables",
    description="Makes the tables of the day before, half an hour after it ended (UTC).",
    job=daily_tables,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
)
@discreet
def daily_tables_schedule(context: ScheduleEvaluationContext) -> RunRequest:
    """One run for the newest day that is over."""
    day = (context.scheduled_execution_time.date() - timedelta(days=1)).isoformat()
    return RunRequest(run_key=day, partition_key=day)
