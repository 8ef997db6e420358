"""Assembly only: `build_defs(overrides)` puts assets, jobs, sensors and resources together for Dagster."""

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, in_process_executor, load_assets_from_package_module

import assets
from assets.jobs import daily_tables, run_jobs
from audiomill.logs import log_as_json
from audiomill.settings import Settings
from resources import DatabaseResource, EnginesResource, PartitionKeyIOManager, SettingsResource, StoreResource
from sensors.availability import availability
from sensors.batching import batching
from sensors.daily import daily_tables_schedule
from sensors.inbox import inbox
from sensors.intake import intake
from sensors.reaper import reaper
from sensors.retention import retention
from sensors.retirement import retirement
from sensors.run_ends import run_cancelled, run_failure


def build_defs(overrides: Mapping[str, Any] | None = None) -> Definitions:
    """All definitions. `overrides` replaces resources by name: the seam for tests.

    Settings that are overridden reach the database, the store and the engines too, unless these are overridden.
    """
    given = dict(overrides or {})
    settings = given.get("settings", SettingsResource())
    return Definitions(
        assets=load_assets_from_package_module(assets, include_specs=True),
        jobs=[*run_jobs, daily_tables],
        sensors=[
            inbox,
            intake,
            batching,
            run_failure,
            run_cancelled,
            reaper,
            retirement,
            retention,
            availability,
        ],
        schedules=[daily_tables_schedule],
        # A process per op would load a model per op, and start three interpreters for one batch.
        executor=in_process_executor,
        resources={
            "settings": settings,
            "database": DatabaseResource(settings=settings),
            "store": StoreResource(settings=settings),
            "engines": EnginesResource(settings=settings),
            "io_manager": PartitionKeyIOManager(),
            **given,
        },
    )


# Every process of Dagster that runs code of ours loads this module: what it logs is set here.
log_as_json(Settings().log_level)
defs = build_defs()
