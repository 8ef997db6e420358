"""Scratch: what killed runs have left of customers' sound on this machine's disk is removed."""

from dagster import DefaultSensorStatus, SkipReason, sensor

from audiomill.scratch import sweep
from ops.discretion import discreet
from resources import SettingsResource


@sensor(
    name="scratch",
    description="Removes scratch folders that no living run of this machine holds.",
    minimum_interval_seconds=300,
    default_status=DefaultSensorStatus.RUNNING,
)
@discreet
def scratch(settings: SettingsResource) -> SkipReason:
    """Each run sweeps as well when it begins, so that a machine without sensors is kept clean too."""
    return SkipReason(f"{sweep(settings.get().data_dir)} folders swept.")
