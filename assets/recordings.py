"""Recordings: what customers gave, by day of intake. Made outside Dagster; sensors/intake.py reports the counts."""

from dagster import AssetSpec, DailyPartitionsDefinition

INTAKE_DAYS = DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC", end_offset=1)
"""Days in UTC, today included: recordings come in all day."""

recordings = AssetSpec(
    "recordings",
    description="Audio, video and texts as they came in: by upload, inbox, operator or schedule. Counts only.",
    group_name="intake",
    kinds={"postgres"},
    owners=["team:audiomill"],
    partitions_def=INTAKE_DAYS,
)
